"""How big, how fast, how dear: bytes, hours and milliseconds of a catalogue that is to be."""

from __future__ import annotations

from patchrerank.planning.counts import parse_count
from patchrerank.planning.machine import Machine, measure_disk, measure_memory
from patchrerank.planning.plan import Plan, Step, make_plan
from patchrerank.planning.rates import Rates, encoding_rate, measure_requests, quantising_rate
from patchrerank.planning.workload import Workload, array_bytes, bytes_by_level

__all__ = [
    "Machine",
    "Plan",
    "Rates",
    "Step",
    "Workload",
    "array_bytes",
    "bytes_by_level",
    "encoding_rate",
    "make_plan",
    "measure_disk",
    "measure_memory",
    "measure_requests",
    "parse_count",
    "quantising_rate",
]
