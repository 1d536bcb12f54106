"""Compiled checks and look-ups of a call: queries that are finite, and where slots' rows lie."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from patchrerank.kernels._places import fill_part_spans, fill_spans, locate
from patchrerank.kernels._tiles import prefetch
from patchrerank.kernels.jit import compiled_inside
from patchrerank.types import Floats, Rows

Parts: TypeAlias = tuple[Rows, Rows]
Ends: TypeAlias = tuple[Rows, Rows, Rows]
EXPONENT = 0x7F800000


@compiled_inside
def finite(values: Floats) -> bool:
    """Tell that no value of a table ``(n, d)`` is NaN or infinite."""
    bad = np.int32(0)
    for bits in values.reshape(-1).view(np.int32):
        bad |= np.int32((bits & EXPONENT) == EXPONENT)
    return bool(bad == 0)


@compiled_inside
def find_rows(
    slots: Rows,
    total: int,
    ends: Rows,
    end_places: Ends,
    stride: int,
    places: Parts,
    scaled: bool,
    scale_places: Parts,
    begins: Rows,
    counts: Rows,
) -> Any:
    """Write where the patches of slots ``(n,)`` begin, and how many there are.

    ``ends`` are those of ``total`` rows in one array, or empty: ``end_places`` tell where they lie.

    Returns:
        Whether all is as it must be, and open; and int64 ``(n,)`` the addresses of the first patch
        and its scale, the same where there are no scales.
    """
    starts = np.empty(len(slots), np.int64)
    if len(ends) > 0:
        if ends[-1] != total or fill_spans(slots, ends, total, begins, counts) >= 0:
            return False, starts, starts
    else:
        ask_for_ends(slots, end_places[0], end_places[1])
        if fill_part_spans(slots, *end_places, begins, counts, 0) >= 0:
            return False, starts, starts
    if locate(begins, places[0], places[1], stride, starts, 0) >= 0:
        return False, starts, starts
    if not scaled:
        return True, starts, starts
    scales = np.empty(len(slots), np.int64)
    found = locate(begins, scale_places[0], scale_places[1], 4, scales, 0) < 0
    return found, starts, scales


@compiled_inside
def ask_for_ends(rows: Rows, starts: Rows, at: Rows) -> None:
    """Ask for the ends of images in one part, since each look at them misses caches."""
    if len(at) == 1 and at[0] != 0:
        for row in rows:
            if 0 <= row < starts[1]:
                prefetch(at[0] + 8 * row)
