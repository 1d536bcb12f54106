"""Ids found by their bytes: an open-addressing table from the hash of an id to its row.

The table is uint32 ``(2^m,)``: 0 is an empty place, ``row + 1`` any other. An id lies at the
first free place from its hash on; it is found by comparing bytes, so two ids of one hash, or a
damaged table, never give a wrong row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._jit import compiled
from patchrerank.kernels._tiles import prefetch, word_at
from patchrerank.types import Rows

Bytes = npt.NDArray[np.uint8]
Table = npt.NDArray[np.uint32]

MOST_IDS = (1 << 32) - 2
"""What uint32 can number."""


def table_of(blob: Bytes, ends: Rows) -> tuple[Table, int]:
    """Return the table of N ids whose bytes stand one behind the other.

    Args:
        blob: uint8, the UTF-8 bytes of all ids.
        ends: int64 ``(N,)``, where each ends; rising.

    Returns:
        uint32 ``(2^m,)``, between a third and two thirds full; and the first row whose id stands
        in a row before it, which the table then leaves out, or ``-1``.
    """
    table = np.zeros(table_size(len(ends)), dtype=np.uint32)
    return table, int(_fill(np.asarray(blob), np.asarray(ends), table))


def table_size(count: int) -> int:
    """Return the places of a table for ``count`` ids: a power of two."""
    return 1 << max(3, (3 * count // 2).bit_length())


def find_rows(text: bytes, stops: Rows, table: Table, blob: Bytes, ends: Rows) -> Rows:
    """Return the row of each of K ids, int64 ``(K,)``, ``-1`` where there is none.

    Args:
        text: the UTF-8 bytes of the K ids, one behind the other.
        stops: int64 ``(K,)``, where each ends.
        table: see :func:`table_of`; plain arrays, no subclasses, are the fastest.
        blob: the bytes that the table was made of.
        ends: int64 ``(N,)``.
    """
    rows = np.empty(len(stops), dtype=np.int64)
    _find(np.frombuffer(text, dtype=np.uint8), stops, table, blob, ends, rows)
    return rows


@compiled
def _hash(blob: Bytes, begin: int, end: int) -> Any:
    """Multiply and mix, eight bytes at a time, so that low bits depend on all bytes."""
    value, place = np.uint64(end - begin), begin
    while place + 8 <= end:
        value = (value ^ word_at(blob.ctypes.data + place)) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
        place += 8
    rest = np.uint64(0)
    while place < end:
        rest = (rest << np.uint64(8)) | np.uint64(blob[place])
        place += 1
    value = (value ^ rest) * np.uint64(0xD6E8FEB86659FD93)
    value ^= value >> np.uint64(32)
    value *= np.uint64(0xD6E8FEB86659FD93)
    return value ^ (value >> np.uint64(32))


@compiled
def _equal(text: Bytes, begin: int, end: int, blob: Bytes, ends: Rows, row: int) -> bool:
    """Compare bytes; a row that cannot be, or ends that do not rise, equal nothing."""
    if row >= len(ends):
        return False
    first = ends[row - 1] if row > 0 else np.int64(0)
    if ends[row] - first != end - begin or first < 0 or ends[row] > len(blob):
        return False
    here, there, stop = text.ctypes.data + begin, blob.ctypes.data + first, end - begin
    place = 0
    while place + 8 <= stop:
        if word_at(here + place) != word_at(there + place):
            return False
        place += 8
    while place < stop:
        if text[begin + place] != blob[first + place]:
            return False
        place += 1
    return True


@compiled
def _fill(blob: Bytes, ends: Rows, table: Table) -> int:
    """Enter all ids; return the first row whose id is there already, or -1."""
    mask = np.uint64(len(table) - 1)
    begin, twice = np.int64(0), np.int64(-1)
    for row in range(len(ends)):
        place = _hash(blob, begin, ends[row]) & mask
        while table[place]:
            if _equal(blob, begin, ends[row], blob, ends, np.int64(table[place]) - 1):
                break
            place = (place + np.uint64(1)) & mask
        if not table[place]:
            table[place] = np.uint32(row + 1)
        elif twice < 0:
            twice = row
        begin = ends[row]
    return twice


@compiled
def _find(text: Bytes, stops: Rows, table: Table, blob: Bytes, ends: Rows, rows: Rows) -> None:
    """Hash all ids first and ask for what they will touch, since every look-up misses caches."""
    places, begin = np.empty(len(rows), np.uint64), np.int64(0)
    for number in range(len(rows)):
        places[number] = _hash(text, begin, stops[number]) & np.uint64(len(table) - 1)
        prefetch(table.ctypes.data + 4 * np.int64(places[number]))
        begin = stops[number]
    for number in range(len(rows)):
        prefetch(ends.ctypes.data + 8 * (np.int64(table[places[number]]) - 1))
    for number in range(len(rows)):
        row = np.int64(table[places[number]]) - 1
        if 0 < row < len(ends):
            prefetch(blob.ctypes.data + ends[row - 1])
    begin = np.int64(0)
    for number in range(len(rows)):
        span = (begin, stops[number])
        rows[number] = _row_at(places[number], text, span, table, blob, ends)
        begin = stops[number]


@compiled
def _row_at(
    place: int, text: Bytes, span: tuple[int, int], table: Table, blob: Bytes, ends: Rows
) -> int:
    """Return the row of the id that stands in ``text`` at ``span``, from a place of the table."""
    for _ in range(len(table)):
        row = np.int64(table[place]) - 1
        if row < 0:
            return row
        if _equal(text, span[0], span[1], blob, ends, row):
            return row
        place = (place + np.uint64(1)) & np.uint64(len(table) - 1)
    return np.int64(-1)
