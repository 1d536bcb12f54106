"""Lists cut into what is copied, or computed, at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from patchrerank.types import Rows


def cuts(filled: Rows, most: int) -> Iterator[tuple[int, int]]:
    """Yield where a list is cut so that a piece sums to ``most``, or is one item."""
    start = 0
    while start < len(filled):
        limit = most + (int(filled[start - 1]) if start else 0)
        stop = max(start + 1, int(np.searchsorted(filled, limit, side="right")))
        yield start, stop
        start = stop


def groups_of(counts: Rows | None) -> Iterator[tuple[int, Rows | None]]:
    """Yield groups of slots, none of which has less than half of its widest's rows: width, slots.

    All slots in one group are None; slots without rows are in none. None: one group of width 0,
    which means that the caller knows.
    """
    if counts is None:
        yield 0, None
        return
    filled = counts[counts > 0]
    if len(filled) == len(counts) and 2 * filled.min() >= filled.max():
        yield int(filled.max()), None
        return
    halvings = np.frexp(counts)[1]
    for level in np.unique(halvings[counts > 0]):
        slots = np.flatnonzero((halvings == level) & (counts > 0))
        yield int(counts[slots].max()), slots


def pieces(count: int, whole: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut ``count`` slots, lists of ``whole`` each, into whole lists or parts of one list."""
    step = most // whole * whole
    lists = range(0, count, step or whole)
    for start in lists:
        stop = min(count, start + (step or whole))
        for begin in range(start, stop, step or most):
            yield begin, min(stop, begin + (step or most))
