"""One query's list as it comes from a first stage: ids found and scores checked in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.kernels.ids import Bytes, Table, _find, _places, fixed_view
from patchrerank.kernels.jit import compiled_short, compiled_within, entry_of
from patchrerank.kernels.segments import Rowwise
from patchrerank.kernels.zeros import _zeros
from patchrerank.types import Floats, Rows

Doubles = npt.NDArray[np.float64]


class ListReader:
    """Reads plain lists; what does not change from list to list is prepared once.

    Args:
        table: see :func:`patchrerank.kernels.ids.table_of`; the caller keeps what is passed alive.
        blob: uint8, the bytes of all ids; may lie in parts.
        ends: int64 ``(N,)``, where each ends.
        removed: uint8 ``(n,)``, other than 0 where a row was removed.
    """

    def __init__(self, table: Table, blob: Rowwise, ends: Rowwise, removed: Bytes) -> None:
        self._kept = blob, ends, removed
        self._held = (fixed_view(table), *_places(blob, ends), removed.ctypes.data, len(removed))
        self._entry: Callable[..., bool] | None = None

    def read(
        self, text: bytes, width: int, scores: Doubles, limit: float
    ) -> tuple[Rows, Floats] | None:
        """Return the rows ``(K,)`` and scores ``(K,)`` of a list that is plain, else None.

        That is: all ids are there, none twice, the scores lie within ± ``limit`` and nowhere rise.
        What is wrong with any other list, if anything, is for the caller to find.

        Args:
            text: the bytes of K ids, at least one.
            width: of one id; 0: a zero byte stands between two.
            scores: float64 ``(K,)``, C-contiguous.
            limit: at most the largest float32.
        """
        rows, given = np.empty(len(scores), np.int64), np.empty(len(scores), np.float32)
        asked = np.frombuffer(text, np.uint8), width, scores, limit
        if self._entry is None:
            self._entry = entry_of(_read, (*self._held, *asked, rows, given))
        plain = self._entry(*self._held, *asked, rows, given)
        return (rows, given) if plain else None


@compiled_short
def _read(
    table: Table,
    starts: Rows,
    ends_at: Rows,
    blobs_at: Rows,
    sizes: Rows,
    removed: int,
    flags: int,
    text: Bytes,
    width: int,
    scores: Doubles,
    limit: float,
    rows: Rows,
    given: Floats,
) -> Any:
    """Write rows and scores; return False where a list is not plain, or a part not open."""
    count, before = len(rows), limit
    for slot in range(count):
        if not -limit <= scores[slot] <= before:
            return False
        before = scores[slot]
        given[slot] = before
    stops = np.empty(count, np.int64)
    if width == 0 and _zeros(text, stops[: count - 1]) != count - 1:
        return False
    for slot in range(count if width > 0 else 0):
        stops[slot] = width * (slot + 1)
    stops[count - 1] = len(text)
    places, gap = (starts, ends_at, blobs_at, sizes), 1 if width == 0 else 0
    if _find(np.int64(text.ctypes.data), stops, gap, table, *places, removed, flags, rows, 0) >= 0:
        return False
    return _all_differ(rows)


@compiled_within
def _all_differ(rows: Rows) -> Any:
    """Tell whether no row stands twice, and none is negative."""
    size = 8
    while size < 2 * len(rows):
        size *= 2
    seen, mask = np.zeros(size, np.int64), np.uint64(size - 1)
    for row in rows:
        if row < 0:
            return False
        place = ((np.uint64(row) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
        while seen[place] != 0:
            if seen[place] == row + 1:
                return False
            place = (place + np.uint64(1)) & mask
        seen[place] = row + 1
    return True
