"""Lists without those who do not count, one behind another, and the marked ones among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from patchrerank.metrics.lists import Bools
from patchrerank.types import Floats, Rows


@dataclass(frozen=True, eq=False)
class MarkedLists:
    """``N`` candidates of ``Q`` lists that count, ``M`` of them marked.

    Attributes:
        first, second: float32 ``(N,)``, first-stage and local scores.
        starts: int64 ``(Q + 1,)``, where each list begins.
        ends: int64 ``(Q, K)``, where among N each place of the whole list ends; None: all count.
        owner: int64 ``(M,)``, the list of each marked candidate.
        edges: int64 ``(Q + 1,)``: list q has the marked candidates ``edges[q] … edges[q + 1]``.
        marked: int64 ``(M,)``, where they stand among N.
        places: int64 ``(M,)``, their ranks in the first stage's order, from 1.
    """

    first: Floats
    second: Floats
    starts: Rows
    ends: Rows | None
    owner: Rows
    edges: Rows
    marked: Rows
    places: Rows

    @classmethod
    def of(cls, first: Floats, second: Floats, counted: Bools, marks: Bools) -> MarkedLists:
        """Flatten lists ``(Q, K)``.

        Args:
            first, second: float32, their scores.
            counted: bool, who is ranked.
            marks: bool, whose rank will be asked for; counted themselves.
        """
        queries, width = counted.shape
        slots, ends = np.flatnonzero(marks), None
        if counted.all():
            first, second, marked = first.flatten(), second.flatten(), slots
            starts = np.arange(queries + 1, dtype=np.int64) * width
        else:
            along = np.cumsum(counted, dtype=np.int64)
            first, second, marked = first[counted], second[counted], along[slots] - 1
            ends = along.reshape(queries, width)
            starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:, -1]])
        owner = slots // max(width, 1)
        edges = np.searchsorted(owner, np.arange(queries + 1))
        places = marked - starts[owner] + 1
        return cls(first, second, starts, ends, owner, edges, marked, places)
