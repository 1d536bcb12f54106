"""The head of a ranking put into another order: every table of it in one pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchrerank.kernels.jit import compiled
from patchrerank.types import Floats, Rows

Doubles = npt.NDArray[np.float64]


@compiled
def fill_keys(rows: Rows, local: Floats, by_local: bool, exact: Doubles, keys: Doubles) -> None:
    """Write what a head ``(Q, k)`` is sorted by, ascending: the negative local or exact score.

    Empty slots (row -1 of ``rows`` ``(Q, K)``) get the exact score −inf and come last.
    """
    for query in range(keys.shape[0]):
        for slot in range(keys.shape[1]):
            if rows[query, slot] == -1:
                exact[query, slot] = -np.inf
                keys[query, slot] = np.inf
            elif by_local:
                keys[query, slot] = -local[query, slot]
            else:
                keys[query, slot] = -exact[query, slot]


@compiled
def move_tables(
    places: Rows,
    before: tuple[Rows, Floats, Floats, Floats, Floats],
    exact: Doubles,
    local: Floats,
    boxes: Floats,
    after: tuple[Rows, Floats, Floats, Floats, Floats],
) -> None:
    """Write the tables of a ranking (rows, scores, global and local scores, boxes) anew.

    Args:
        places: int64 ``(Q, k)``, from which slot of the head each slot is taken.
        before: the tables, ``(Q, K)``; boxes ``(Q, K, 4)``.
        exact: float64 ``(Q, k)``, new scores of the head.
        local: float32 ``(Q, ≥ k)``, its new local scores.
        boxes: float32 ``(Q, ≥ k, 4)``, its new boxes; where one holds NaN, that of before stays.
        after: what is written.
    """
    queries, size = places.shape
    for query in range(queries):
        for slot in range(size):
            place = places[query, slot]
            after[0][query, slot] = before[0][query, place]
            after[1][query, slot] = exact[query, place]
            after[2][query, slot] = before[2][query, place]
            after[3][query, slot] = local[query, place]
            known = True
            for side in range(4):
                known = known and not np.isnan(boxes[query, place, side])
            for side in range(4):
                box = boxes[query, place, side] if known else before[4][query, place, side]
                after[4][query, slot, side] = box
        for slot in range(size, before[0].shape[1]):
            after[0][query, slot] = before[0][query, slot]
            after[1][query, slot] = before[1][query, slot]
            after[2][query, slot] = before[2][query, slot]
            after[3][query, slot] = before[3][query, slot]
            for side in range(4):
                after[4][query, slot, side] = before[4][query, slot, side]
