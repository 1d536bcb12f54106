"""Where the vectors of shortlisted images lie: one walk over rows, checked on the way."""

from __future__ import annotations

import numpy as np

from patchrerank.kernels.jit import compiled
from patchrerank.types import Floats, Rows


@compiled
def fill_spans(rows: Rows, ends: Rows, total: int, begins: Rows, counts: Rows) -> int:
    """Write begin and count of each row ``(n,)``; return the first slot that cannot be, or -1.

    Row -1, an empty slot, begins at 0 and counts 0.
    """
    for slot in range(len(rows)):
        row = rows[slot]
        begins[slot], counts[slot] = 0, 0
        if row < -1 or row >= len(ends):
            return slot
        if row >= 0:
            begins[slot] = ends[row - 1] if row > 0 else 0
            counts[slot] = ends[row] - begins[slot]
            if counts[slot] < 0 or begins[slot] < 0 or ends[row] > total:
                return slot
    return -1


@compiled
def pick_boxes(rows: Rows, picks: Rows, ends: Rows, boxes: Floats, found: Floats) -> None:
    """Write the box of each slot's pick, its number within its image; NaN where that is -1.

    ``rows`` and ``picks`` int64 ``(n,)``, as checked before; ``boxes`` ``(T, 4)``; ``found``
    ``(n, 4)``.
    """
    for slot in range(len(rows)):
        row, pick = rows[slot], picks[slot]
        at = (ends[row - 1] if row > 0 else 0) + pick
        for side in range(4):
            found[slot, side] = boxes[at, side] if pick >= 0 else np.nan
