"""Arrays that lie one behind the other in several places, read as if they were one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from patchrerank.types import Rows

Array: TypeAlias = npt.NDArray[Any]


class Segments:
    """S arrays one behind the other along their first axis; each is opened when first touched.

    Rows and slices of it are plain arrays: ``segments[rows]`` a copy, a slice within one part a
    view; ``np.asarray`` reads all of it. A part that is open stays so.

    Args:
        starts: int64 ``(S + 1,)``, the number of each part's first row, and that of all rows.
        dtype: of the values.
        tail: shape of one row.
        open_part: gives part s, C-contiguous and of that dtype; called again, the same memory.
        shifts: int64 ``(S + 1,)``; where the parts hold cumulative counts, what is counted before
            each, which is added to its values, and behind the last.
    """

    def __init__(
        self,
        starts: Rows,
        dtype: npt.DTypeLike,
        tail: tuple[int, ...],
        open_part: Callable[[int], Array],
        shifts: Rows | None = None,
    ) -> None:
        self.starts, self.shifts = np.ascontiguousarray(starts, dtype=np.int64), shifts
        self.dtype, self.shape = np.dtype(dtype), (int(self.starts[-1]), *tail)
        self.row_bytes = self.dtype.itemsize * int(np.prod(tail, dtype=np.int64))
        self.at = np.zeros(len(starts) - 1, dtype=np.int64)
        self._open_part = open_part
        self._parts: list[Array | None] = [None] * len(self.at)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Segments({self.dtype} {self.shape} in {len(self.at)} parts)"

    @property
    def end_places(self) -> tuple[Rows, Rows, Rows]:
        """Where cumulative counts lie: ``starts``, ``at``, and what is counted before each part."""
        return self.starts, self.at, self.starts if self.shifts is None else self.shifts

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return len(self) * self.row_bytes

    def part(self, number: int) -> Array:
        """Return one of the arrays, as it is."""
        found = self._parts[number]
        if found is None:
            found = self._parts[number] = np.asarray(self._open_part(number))
            self.at[number] = found.ctypes.data
        return found

    def touch(self, row: int) -> None:
        """Open the part that a row lies in, if it lies in one."""
        if 0 <= row < len(self):
            self.part(int(np.searchsorted(self.starts, row, side="right")) - 1)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self._slice(*key.indices(len(self)))
        rows = np.asarray(None if isinstance(key, tuple) else key)
        if rows.dtype.kind not in "iu" and rows.size:
            raise IndexError("a gallery of shards is read by rows and slices; np.asarray reads all")
        flat = rows.astype(np.int64).reshape(-1)
        flat[flat < 0] += len(self)
        if flat.size and (flat.min() < 0 or flat.max() >= len(self)):
            raise IndexError(f"rows {rows} are not all within {len(self)}")
        return self._taken(flat).reshape((*rows.shape, *self.shape[1:]))[()]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:], dtype=dtype)

    def _taken(self, rows: Rows) -> Array:
        found = taken(self, rows)
        if self.shifts is not None:
            found += self.shifts[np.searchsorted(self.starts, rows, side="right") - 1]
        return found

    def _slice(self, start: int, stop: int, step: int) -> Array:
        if step != 1 or stop <= start:
            return self._taken(np.arange(start, stop, step, dtype=np.int64))
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        pieces = []
        while start < stop:
            begin, end = int(self.starts[first]), int(self.starts[first + 1])
            if start < end:
                piece = self.part(first)[start - begin : min(stop, end) - begin]
                pieces.append(piece if self.shifts is None else piece + self.shifts[first])
            start, first = max(start, end), first + 1
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


Rowwise: TypeAlias = Array | Segments
"""An array, or one in parts; both are read by rows and slices."""


def plain(array: Any) -> Rowwise:
    """Return an array without its subclass, or segments as they are."""
    return array if isinstance(array, Segments) else np.asarray(array)


def places_of(array: Rowwise) -> tuple[Rows, Rows]:
    """Return ``starts`` and ``at`` of a C-contiguous array (one part), or of its segments."""
    if isinstance(array, Segments):
        return array.starts, array.at
    return np.array([0, len(array)]), np.array([array.ctypes.data])


def addresses_of(array: Rowwise, rows: Rows) -> Rows:
    """Return the address of each row, int64 of the shape of ``rows``; 0 for negative ones.

    Args:
        array: C-contiguous; the caller keeps it alive.
        rows: int64, C-contiguous, below ``len(array)``.

    Raises:
        IndexError: a row beyond.
    """
    from patchrerank.kernels._places import locate

    found = np.empty(rows.shape, dtype=np.int64)
    stride = array.row_bytes if isinstance(array, Segments) else array.strides[0]
    asked, answer, slot, before = rows.reshape(-1), found.reshape(-1), 0, -1
    while (slot := locate(asked, *places_of(array), stride, answer, slot)) >= 0:
        if slot == before or not isinstance(array, Segments):
            raise IndexError(f"row {asked[slot]} is not within {len(array)}")
        array.touch(int(asked[slot]))
        before = slot
    return found


def taken(array: Rowwise, rows: Rows, missing: float | None = None) -> Array:
    """Return rows ``(n,)`` of an array as a copy, without any shifts.

    Args:
        array: C-contiguous.
        rows: int64, C-contiguous, below ``len(array)``.
        missing: what stands where a row is negative; None: there is none.
    """
    from patchrerank.kernels._places import gather

    shape = (len(rows), *array.shape[1:])
    out = np.empty(shape, array.dtype) if missing is None else np.full(shape, missing, array.dtype)
    size = out.dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
    gather(addresses_of(array, rows), size, out.ctypes.data)
    return out


def spans_of(rows: Rows, ends: Rowwise, total: int) -> tuple[Rows, Rows, int]:
    """Return where the vectors of images lie: first vector, count, and the first slot that is bad.

    Args:
        rows: int64 ``(n,)``, ``-1`` for none.
        ends: int64 ``(N,)`` cumulative counts of ``total`` vectors; only what ``rows`` need is
            read.
        total: how many vectors there are.

    Returns:
        begins and counts int64 ``(n,)`` (``-1`` and 0 where an image has none); and the first
        slot whose row is no image's, or whose counts do not rise within the total; else ``-1``.
    """
    from patchrerank.kernels._places import fill_part_spans, fill_spans

    begins, counts = np.empty(len(rows), dtype=np.int64), np.empty(len(rows), dtype=np.int64)
    if not isinstance(ends, Segments):
        return begins, counts, fill_spans(rows, ends, total, begins, counts)
    slot, before = 0, -1
    while (slot := fill_part_spans(rows, *ends.end_places, begins, counts, slot)) >= 0:
        if slot == before:  # its part is open, and it cannot be
            break
        ends.touch(int(rows[slot]))
        before = slot
    return begins, counts, slot


def span_bytes(blob: Segments, begins: Rows, counts: Rows) -> Array:
    """Return the bytes of spans, each within one part, one behind the other, uint8.

    Args:
        blob: uint8 ``(B,)``.
        begins: int64 ``(n,)``, the first byte of each.
        counts: int64 ``(n,)``.
    """
    from patchrerank.kernels._places import gather_spans

    out = np.empty(int(counts.sum()), dtype=np.uint8)
    gather_spans(addresses_of(blob, begins), counts, out.ctypes.data)
    return out
