"""Ids found by their bytes: an open-addressing table from the hash of an id to its row.

The table is uint32 ``(2^m,)``: 0 is an empty place, ``row + 1`` any other. An id lies at the
first free place from its hash on; it is found by comparing bytes, so two ids of one hash, or a
damaged table, never give a wrong row. Rows that were removed are entered, too, and passed over when
an id is looked up: the same id may stand in a later row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._tiles import byte_at, prefetch, word_at
from patchrerank.kernels.jit import compiled
from patchrerank.types import Rows

Bytes = npt.NDArray[np.uint8]
Table = npt.NDArray[np.uint32]

MOST_IDS = (1 << 32) - 2
"""What uint32 can number."""


NONE_REMOVED: Bytes = np.zeros(0, dtype=np.uint8)


def table_of(
    blob: Bytes, ends: Rows, size: int, removed: Bytes = NONE_REMOVED
) -> tuple[Table, int]:
    """Return the table of N ids whose bytes stand one behind the other.

    Args:
        blob: uint8, the UTF-8 bytes of all ids.
        ends: int64 ``(N,)``, where each ends; rising.
        size: places, a power of two above N.
        removed: uint8 ``(n,)``, other than 0 where a row was removed; rows from n on live.

    Returns:
        uint32 ``(size,)``; and the first living row whose id stands
        in a living row before it, which the table then leaves out, or ``-1``.
    """
    table = np.zeros(size, dtype=np.uint32)
    text, stops = np.asarray(blob), np.asarray(ends)
    flags = removed.ctypes.data, len(removed)
    return table, int(_fill(text.ctypes.data, stops, table, *flags))


def find_rows(
    text: bytes,
    stops: Rows,
    table: Table,
    blob: Bytes,
    ends: Rows,
    *,
    gap: int = 0,
    removed: Bytes = NONE_REMOVED,
) -> Rows:
    """Return the living row of each of K ids, int64 ``(K,)``, ``-1`` where there is none.

    Args:
        text: the UTF-8 bytes of the K ids, one behind the other.
        stops: int64 ``(K,)``, where each ends.
        gap: bytes between two ids.
        table: see :func:`table_of`; plain arrays, no subclasses, are the fastest.
        blob: the bytes that the table was made of.
        ends: int64 ``(N,)``.
        removed: see :func:`table_of`.
    """
    rows = np.empty(len(stops), dtype=np.int64)
    given = np.frombuffer(text, dtype=np.uint8)
    held = blob.ctypes.data, len(blob), ends
    flags = removed.ctypes.data, len(removed)
    _find(given.ctypes.data, stops, gap, table, *held, *flags, rows)
    return rows


@compiled
def _last_word(begin: Any, end: Any) -> Any:
    """Return the last eight bytes between two addresses, or all of fewer."""
    if end - begin >= 8:
        return word_at(end - 8)
    word = np.uint64(0)
    for place in range(begin, end):
        word = (word << np.uint64(8)) | np.uint64(byte_at(place))
    return word


@compiled
def _hash(begin: Any, end: Any) -> Any:
    """Multiply and mix, eight bytes at a time, so that low bits depend on all bytes."""
    value = np.uint64(end - begin)
    for place in range(begin, end - 8, 8):
        value = (value ^ word_at(place)) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
    value = (value ^ _last_word(begin, end)) * np.uint64(0xD6E8FEB86659FD93)
    value ^= value >> np.uint64(32)
    value *= np.uint64(0xD6E8FEB86659FD93)
    return value ^ (value >> np.uint64(32))


@compiled
def _equal(begin: Any, end: Any, other: Any, stop: Any) -> Any:
    """Compare the bytes between two addresses with those between two others."""
    if stop - other != end - begin:
        return False
    for step in range(0, end - begin - 8, 8):
        if word_at(begin + step) != word_at(other + step):
            return False
    return _last_word(begin, end) == _last_word(other, stop)


@compiled
def _is_gone(removed: int, flags: int, row: Any) -> Any:
    return row < flags and byte_at(removed + row) != 0


@compiled
def _fill(blob: int, ends: Rows, table: Table, removed: int, flags: int) -> Any:
    """Enter all ids; return the first living row whose id lives already, or -1."""
    mask = np.uint64(len(table) - 1)
    begin: Any = np.int64(0)
    twice: Any = np.int64(-1)
    for row in range(len(ends)):
        place = _hash(blob + begin, blob + ends[row]) & mask
        while table[place]:
            held = np.int64(table[place]) - 1
            first = ends[held - 1] if held > 0 else np.int64(0)
            gone = _is_gone(removed, flags, row) or _is_gone(removed, flags, held)
            if not gone and _equal(blob + begin, blob + ends[row], blob + first, blob + ends[held]):
                break
            place = (place + np.uint64(1)) & mask
        if not table[place]:
            table[place] = np.uint32(row + 1)
        elif twice < 0:
            twice = row
        begin = ends[row]
    return twice


@compiled
def _find(
    text: int,
    stops: Rows,
    gap: int,
    table: Table,
    blob: int,
    size: int,
    ends: Rows,
    removed: int,
    flags: int,
    rows: Rows,
) -> None:
    """Hash all ids first and ask for what they will touch, since every look-up misses caches."""
    mask, begin = np.uint64(len(table) - 1), text
    places = np.empty(len(rows), np.uint64)
    for number in range(len(rows)):
        places[number] = _hash(begin, text + stops[number]) & mask
        prefetch(table.ctypes.data + 4 * np.int64(places[number]))
        begin = text + stops[number] + gap
    for number in range(len(rows)):
        prefetch(ends.ctypes.data + 8 * (np.int64(table[places[number]]) - 1))
    for number in range(len(rows)):
        row = np.int64(table[places[number]]) - 1
        if 0 < row < len(ends):
            prefetch(blob + ends[row - 1])
    begin = text
    for number in range(len(rows)):
        place, end = places[number], text + stops[number]
        rows[number] = -1
        for _ in range(len(table)):
            row = np.int64(table[place]) - 1
            if row < 0:
                break
            # a damaged table, or damaged ends, equal nothing
            if row < len(ends) and not _is_gone(removed, flags, row):
                first = ends[row - 1] if row > 0 else np.int64(0)
                inside = 0 <= first < ends[row] <= size
                if inside and _equal(begin, end, blob + first, blob + ends[row]):
                    rows[number] = row
                    break
            place = (place + np.uint64(1)) & mask
        begin = end + gap
