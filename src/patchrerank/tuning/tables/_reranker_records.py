"""What a score table records of a reranker: settings, what it looks at, what it reads, its pace."""

from __future__ import annotations

import time
from dataclasses import is_dataclass

import numpy as np

from patchrerank.rerankers import Execution, Reranker
from patchrerank.rerankers.execution import one_torch_thread
from patchrerank.types import Queries, Shortlist

NOT_SETTINGS = ("fusion", "threads", "gallery", "encoder", "list_depth")
TIMED_CANDIDATES = 50
TIMED_QUERIES = 5
TIMED_SECONDS = 5.0


def describe(reranker: Reranker) -> dict[str, object]:
    """Return the class and settings of a reranker, without what does not change its scores."""
    made: dict[str, object] = {"class": type(reranker).__name__}
    for key, value in sorted(vars(reranker).items()):
        if key.startswith("_") or key in NOT_SETTINGS:
            continue
        if isinstance(value, Execution):
            value = value.precision  # nothing else changes scores
        if isinstance(value, Reranker):
            made[key] = describe(value)
        elif isinstance(getattr(value, "fingerprint", None), str):
            made[key] = value.fingerprint
        elif is_dataclass(value) or value is None or isinstance(value, str | int | float):
            made[key] = repr(value)
    return made


def pace_of(reranker: Reranker, queries: Queries, shortlist: Shortlist) -> tuple[float, float]:
    """Return milliseconds for each candidate, and for each query beside that.

    Medians over a few queries, one by one on one thread, of a straight line through one
    candidate and some tens; NaN without candidates. The first call, which compiles kernels, is
    not timed.
    """
    many = min(TIMED_CANDIDATES, shortlist.rows.shape[1])
    numbers = np.flatnonzero((shortlist.rows[:, :1] >= 0).any(axis=1))[:TIMED_QUERIES]
    if not len(numbers):
        return float("nan"), 0.0
    _seconds(reranker, queries, shortlist, int(numbers[0]), min(many, 2))
    begun, pairs = time.perf_counter(), []
    for number in numbers.tolist():
        pairs.append([_seconds(reranker, queries, shortlist, number, n) for n in (1, many)])
        if time.perf_counter() - begun > TIMED_SECONDS:
            break
    one, some = 1000 * np.median(np.array(pairs), axis=0)
    each = max(0.0, (some - one) / (many - 1)) if many > 1 else one
    return float(each), float(max(0.0, one - each))


def _seconds(
    reranker: Reranker, queries: Queries, shortlist: Shortlist, number: int, size: int
) -> float:
    part = slice(number, number + 1)
    head = Shortlist(shortlist.rows[part, :size], shortlist.scores[part, :size])
    one = queries.take([number])
    with one_torch_thread():
        begun = time.perf_counter()
        reranker.score(one, head)
        return time.perf_counter() - begun
