"""Measuring the hot loops on this machine, side by side with what other libraries offer."""

from __future__ import annotations

from patchrerank.bench.jobs import JOBS, run_bench
from patchrerank.bench.one_core import one_core
from patchrerank.bench.rounds import Contestant, Job, Row
from patchrerank.bench.sizes import Sizes

__all__ = ["JOBS", "Contestant", "Job", "Row", "Sizes", "one_core", "run_bench"]
