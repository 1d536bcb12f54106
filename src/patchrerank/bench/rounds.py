"""Interleaved rounds: all contestants of a job take turns in one process, medians are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchrerank.errors import MissingExtraError, PatchRerankError
from patchrerank.rerankers.execution import one_torch_thread

SEVERAL = 1.05
"""Processor time over wall time from which on more than one core was at work."""


@dataclass(frozen=True, eq=False)
class Contestant:
    """One way to do a job.

    Attributes:
        name: what the table calls it.
        run: does the job on one input and returns its result.
        compare: whether the result must equal the first contestant's before time is taken.
        tolerance: largest absolute difference that counts as equal.
    """

    name: str
    run: Callable[[Any], Any]
    compare: bool = True
    tolerance: float = 1e-3


@dataclass(frozen=True)
class Row:
    """One line of a result.

    Attributes:
        job: what was done, with its sizes.
        contestant: who did it.
        median_ms: median time of one call in milliseconds, NaN if it could not run.
        ratio: median of (its time / the first contestant's time in the same round): above 1
            means slower than the first.
        bound_ratio: its median over what the machine's own limit, measured in the same rounds,
            allows for the job; NaN where no limit was measured.
        processor_ms: median processor time of one call in milliseconds, over all threads.
        several_cores: whether that is more than one core can give in ``median_ms``.
        note: empty, or why it did not run.
    """

    job: str
    contestant: str
    median_ms: float
    ratio: float
    bound_ratio: float
    processor_ms: float = float("nan")
    several_cores: bool = False
    note: str = ""


@dataclass(frozen=True, eq=False)
class Job:
    """Who competes, and on what.

    Attributes:
        title: what the rows are called.
        contestants: the first one is what the others are compared with.
        draw: makes the input of one call from its number; every call gets a fresh one, so
            nobody finds the data in a cache because somebody else has just read it.
        bound: what contestants that measure the machine are called, before any comma; the
            fastest of them counts. Or empty.
        share: the machine's limit for the job is this many times what it takes.
    """

    title: str
    contestants: Sequence[Contestant]
    draw: Callable[[int], Any]
    bound: str = ""
    share: float = 1.0


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS, OpenMP, torch and faiss to one thread, and set them back afterwards."""
    from threadpoolctl import threadpool_limits

    require("torch")
    optional("faiss")  # load what is to be limited
    with threadpool_limits(1), one_torch_thread():
        yield


def optional(name: str) -> Any:
    """Return the module, or None if it is not installed."""
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def require(name: str) -> Any:
    """Return the module, or say that this contestant is absent."""
    module = optional(name)
    if module is None:
        raise MissingExtraError(f"{name} is not installed")
    return module


def compete(job: Job, rounds: int) -> list[Row]:
    """Run all contestants ``rounds`` times in turns and return one row for each."""
    fit, notes = agreeing(job)
    times = np.full((2, len(fit), rounds), np.nan)
    for turn in range(rounds):
        for number in np.roll(np.arange(len(fit)), turn):
            data = job.draw(1 + turn * len(fit) + int(number))
            times[:, number, turn] = _timed(fit[number], data)
    medians, processor = np.median(times, axis=2).tolist()
    ratios = np.median(times[0] / times[0, 0], axis=1).tolist()
    names, limit = _limited(job, [contestant.name for contestant in fit], medians)
    rows = [
        Row(job.title, name, own, ratio, own / limit, busy, busy > SEVERAL * own)
        for name, own, ratio, busy in zip(names, medians, ratios, processor, strict=True)
    ]
    nan = float("nan")
    return rows + [Row(job.title, name, nan, nan, nan, note=why) for name, why in notes.items()]


def _timed(contestant: Contestant, data: Any) -> tuple[float, float]:
    """Return the milliseconds of one call on the clock, and of all threads on the processor."""
    start, busy = time.perf_counter(), time.process_time()
    contestant.run(data)
    busy = time.process_time() - busy
    return 1e3 * (time.perf_counter() - start), 1e3 * busy


def _limited(job: Job, names: list[str], medians: list[float]) -> tuple[list[str], float]:
    """Return the names, that of the fastest measure of the machine marked, and the limit."""
    bounds = [n for n, name in enumerate(names) if name.partition(",")[0] == job.bound]
    if not bounds:
        return names, float("nan")
    best = min(bounds, key=medians.__getitem__)
    if len(bounds) > 1:
        names = [f"{name} (the bound)" if n == best else name for n, name in enumerate(names)]
    return names, job.share * medians[best]


def agreeing(job: Job) -> tuple[list[Contestant], dict[str, str]]:
    """Return who is installed, and why the others are not there.

    Raises:
        PatchRerankError: somebody's result differs from the first contestant's.
    """
    data = job.draw(0)
    fit, notes = [], {}
    truth: Any = None
    for contestant in job.contestants:
        try:
            result = contestant.run(data)
        except MissingExtraError as error:
            notes[contestant.name] = str(error)
            continue
        truth = result if truth is None else truth
        if contestant.compare and not _close(result, truth, contestant.tolerance):
            raise PatchRerankError(
                f"{contestant.name} and {job.contestants[0].name} disagree by more than "
                f"{contestant.tolerance}; nothing was timed"
            )
        fit.append(contestant)
    return fit, notes


def _close(one: Any, other: Any, tolerance: float) -> bool:
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return first.shape == second.shape and bool(np.abs(first - second).max() <= tolerance)
