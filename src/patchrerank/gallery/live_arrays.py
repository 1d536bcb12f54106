"""The arrays of a folder without the rows that were removed, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from patchrerank.gallery.removed_rows import ANY, items_of
from patchrerank.gallery.row_sources import BLOCK_BYTES, RowSource
from patchrerank.kernels.segments import plain, spans_of
from patchrerank.types import Rows

CUT_BY = {
    **dict.fromkeys(("ids",), "id_ends"),
    **dict.fromkeys(
        ("patches", "patch_scales", "exact_patches", "exact_scales", "boxes"), "patch_ends"
    ),
    **dict.fromkeys(("descriptors", "descriptor_scales", "positions", "scales", "weights"), "ends"),
}
"""Array → the ends by which it is cut into what belongs to each row; others hold one a row."""
WHOLE = ("pq_centroids",)
"""Arrays that say nothing of any row."""

Array = npt.NDArray[Any]


def live_blocks(arrays: Mapping[str, Array], live: Rows) -> Iterator[dict[str, Array]]:
    """Yield what stands in some rows, in blocks of about 4 MB; ends go on from block to block.

    Args:
        arrays: by name, with the ends that they are cut by.
        live: int64 ``(n,)``, rising.
    """
    size = sum(array.nbytes for array in arrays.values())
    images = max((len(array) for name, array in arrays.items() if name not in CUT_BY), default=0)
    step = max(1, int(BLOCK_BYTES * images / max(1, size)))
    totals = dict.fromkeys(CUT_BY.values(), 0)
    for start in range(0, len(live), step):
        rows = live[start : start + step]
        block = {name: _part(arrays, name, rows) for name in arrays}
        for name in totals.keys() & arrays.keys():
            block[name] = np.cumsum(counts_at(arrays[name], rows)) + totals[name]
            totals[name] = int(block[name][-1])
        yield block


def counts_at(ends: Array, rows: Rows) -> Rows:
    """Return how much belongs to each of some rows, int64 ``(n,)``, by where it ends."""
    return spans_of(rows, cast(Rows, plain(ends)), ANY)[1]


def rows_at(array: Array, rows: Rows) -> Array:
    """Return rising rows of an array; where they are neighbours, mapped files are read."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return RowSource(array, "").read(int(rows[0]), int(rows[-1]) + 1)
    return np.asarray(array[rows])


def _part(arrays: Mapping[str, Array], name: str, rows: Rows) -> Array:
    if name not in CUT_BY:
        return rows_at(arrays[name], rows)
    return rows_at(arrays[name], items_of(arrays[CUT_BY[name]], rows))
