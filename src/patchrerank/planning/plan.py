"""From bytes and rates to hours, milliseconds, and where one machine ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from patchrerank.errors import SettingError
from patchrerank.planning.machine import Machine
from patchrerank.planning.rates import Rates
from patchrerank.planning.workload import Workload, array_bytes, patch_bytes, request_bytes

HOUR = 3600.0
WEEK = 7 * 24 * HOUR


@dataclass(frozen=True)
class Step:
    """One part of the work: its hours on one worker."""

    name: str
    hours: float


@dataclass(frozen=True)
class Plan:
    """What a catalogue costs.

    Attributes:
        workload: the catalogue.
        machine: on which figures were measured.
        arrays: bytes by name.
        steps: of building it, on one worker; NaN hours where nothing was measured.
        hours: by number of workers: all steps, divided evenly.
        price: by number of workers; empty without a price an hour.
        rates: what was measured.
        read_ms: a request's bytes over the memory's bandwidth: no store answers faster on a core.
        ends: how many images one machine holds or encodes, by what runs out first.
        assumptions: what was not measured, in words.
    """

    workload: Workload
    machine: Machine
    arrays: dict[str, int]
    steps: tuple[Step, ...]
    hours: dict[int, float]
    price: dict[int, float]
    rates: Rates
    read_ms: float
    ends: dict[str, float]
    assumptions: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        """All arrays."""
        return sum(self.arrays.values())

    @property
    def total_hours(self) -> float:
        """All steps, on one worker."""
        return sum(step.hours for step in self.steps)


def make_plan(
    workload: Workload,
    machine: Machine,
    rates: Rates,
    *,
    workers: Sequence[int] = (1,),
    price: float | None = None,
) -> Plan:
    """Work out a plan from what was measured.

    Args:
        workload: the catalogue.
        machine: whose memory, disk and bandwidths count.
        rates: of one worker.
        workers: for how many the hours are given.
        price: of one worker's hour, in whatever money.

    Raises:
        SettingError: a number of workers below 1, or a price that is negative.
    """
    if not workers or min(workers) < 1:
        raise SettingError(f"workers must be at least 1, got {list(workers)}")
    if price is not None and not 0 <= price < math.inf:
        raise SettingError(f"a price must be at least 0, got {price}")
    arrays = array_bytes(workload)
    steps = _steps(workload, machine, rates, sum(arrays.values()))
    total = sum(step.hours for step in steps)
    return Plan(
        workload=workload,
        machine=machine,
        arrays=arrays,
        steps=steps,
        hours={count: total / count for count in workers},
        price={} if price is None else dict.fromkeys(workers, total * price),
        rates=rates,
        read_ms=_read_ms(workload, machine),
        ends=_ends(workload, machine, rates, arrays),
        assumptions=_assumptions(workload, rates),
    )


def _steps(workload: Workload, machine: Machine, rates: Rates, size: int) -> tuple[Step, ...]:
    steps = [Step("encode", workload.images / rates.images / HOUR)]
    if workload.quantised:
        vectors = workload.images * workload.patches
        steps.append(Step("quantise", vectors / rates.vectors / HOUR))
    return (*steps, Step("write", size / machine.disk_write / HOUR))


def _read_ms(workload: Workload, machine: Machine) -> float:
    return 1000 * request_bytes(workload) / machine.memory_read


def _ends(
    workload: Workload, machine: Machine, rates: Rates, arrays: dict[str, int]
) -> dict[str, float]:
    """Return how many images memory, disk, and a week of encoding have room for."""
    return {
        "patch vectors in memory": machine.memory * workload.images / patch_bytes(workload),
        "everything on the disk": machine.disk * workload.images / sum(arrays.values()),
        "encoded in a week": rates.images * WEEK,
    }


def _assumptions(workload: Workload, rates: Rates) -> tuple[str, ...]:
    told = [
        f"ids take {workload.id_bytes} bytes each",
        "bytes are written once encoding has made them; in truth the two overlap",
        "n workers take an n-th of the time: each has a machine, and a disk, like this one",
        "a request is one query on one thread; first stage and encoding of the query come on top",
    ]
    if workload.finer:
        best = f"the best {workload.rescored} of a request's candidates"
        told.append(f"{workload.finer} rows score {best} again")
    if workload.quantised:
        told.append(
            "the quantiser is trained on a sample, in minutes; shards are quantised where they "
            "were encoded"
        )
    if not math.isnan(rates.cold_ms):
        told.append("cold: nothing of the candidates is in memory; their rows lie anywhere on disk")
    return tuple(told)
