"""Ids found by their bytes: an open-addressing table from the hash of an id to its row.

The table is uint32 ``(2^m,)``: 0 is an empty place, ``row + 1`` any other. An id lies at the
first free place from its hash on; it is found by comparing bytes, so two ids of one hash, or a
damaged table, never give a wrong row. Rows that were removed are entered, too, and passed over when
an id is looked up: the same id may stand in a later row. The bytes may lie in several parts
(:class:`~patchrerank.kernels.segments.Segments`), an id and its end in one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._places import part_of
from patchrerank.kernels._tiles import byte_at, prefetch, word_at
from patchrerank.kernels.jit import compiled, compiled_inside
from patchrerank.kernels.segments import Rowwise, Segments, places_of
from patchrerank.types import Rows

Bytes = npt.NDArray[np.uint8]
Table = npt.NDArray[np.uint32]

NONE_REMOVED: Bytes = np.zeros(0, dtype=np.uint8)


def table_of(
    blob: Rowwise, ends: Rowwise, size: int, removed: Bytes = NONE_REMOVED
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
    for part in range(len(ends.at) if isinstance(ends, Segments) else 0):
        _open(blob, ends, part)
    flags = removed.ctypes.data, len(removed)
    return table, int(_fill(*_places(blob, ends), table, *flags))


def find_rows(
    text: bytes,
    stops: Rows,
    table: Table,
    blob: Rowwise,
    ends: Rowwise,
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
        blob: the bytes that the table was made of; only parts that may hold one of the ids are
            opened.
        ends: int64 ``(N,)``.
        removed: see :func:`table_of`.
    """
    rows = np.empty(len(stops), dtype=np.int64)
    given = np.frombuffer(text, dtype=np.uint8)
    places, number = _places(blob, ends), 0
    fixed, held = fixed_view(table), (*places, removed.ctypes.data, len(removed))
    while (number := _find(given.ctypes.data, stops, gap, fixed, *held, rows, number)) >= 0:
        _open(blob, ends, int(np.searchsorted(places[0], rows[number], side="right")) - 1)
    return rows


def fixed_view(table: Table) -> Table:
    """Return a table that cannot be written: made or mapped, it is one type to the compiler."""
    view: Table = table.view()
    view.flags.writeable = False
    return view


def _places(blob: Rowwise, ends: Rowwise) -> tuple[Rows, Rows, Rows, Rows]:
    """Return first rows ``(S + 1,)`` of the parts, addresses of ends and bytes, and bytes."""
    (starts, ends_at), (bytes_before, blobs_at) = places_of(ends), places_of(blob)
    return starts, ends_at, blobs_at, np.diff(bytes_before)


def _open(blob: Rowwise, ends: Rowwise, part: int) -> None:
    if isinstance(ends, Segments) and isinstance(blob, Segments):
        blob.part(part)
        ends.part(part)  # last, since it says that both are open


@compiled_inside
def _last_word(begin: Any, end: Any) -> Any:
    """Return the last eight bytes between two addresses, or all of fewer."""
    if end - begin >= 8:
        return word_at(end - 8)
    word = np.uint64(0)
    for place in range(begin, end):
        word = (word << np.uint64(8)) | np.uint64(byte_at(place))
    return word


@compiled_inside
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


@compiled_inside
def _equal(begin: Any, end: Any, other: Any, stop: Any) -> Any:
    """Compare the bytes between two addresses with those between two others."""
    if stop - other != end - begin:
        return False
    for step in range(0, end - begin - 8, 8):
        if word_at(begin + step) != word_at(other + step):
            return False
    return _last_word(begin, end) == _last_word(other, stop)


@compiled_inside
def _span(row: Any, part: Any, starts: Rows, ends_at: Rows) -> Any:
    """Return where an id begins and ends among the bytes of its part."""
    at = ends_at[part] + 8 * (row - starts[part])
    begin = np.int64(word_at(at - 8)) if row > starts[part] else np.int64(0)
    return begin, np.int64(word_at(at))


@compiled_inside
def _is_gone(removed: int, flags: int, row: Any) -> Any:
    return row < flags and byte_at(removed + row) != 0


@compiled
def _fill(
    starts: Rows,
    ends_at: Rows,
    blobs_at: Rows,
    sizes: Rows,
    table: Table,
    removed: int,
    flags: int,
) -> Any:
    """Enter all ids; return the first living row whose id lives already, or -1."""
    mask = np.uint64(len(table) - 1)
    twice: Any = np.int64(-1)
    for part in range(len(sizes)):
        blob = blobs_at[part]
        for row in range(starts[part], starts[part + 1]):
            begin, end = _span(row, part, starts, ends_at)
            place = _hash(blob + begin, blob + end) & mask
            while table[place]:
                held = np.int64(table[place]) - 1
                home = part_of(starts, held)
                first, last = _span(held, home, starts, ends_at)
                gone = _is_gone(removed, flags, row) or _is_gone(removed, flags, held)
                if not gone and _equal(
                    blob + begin, blob + end, blobs_at[home] + first, blobs_at[home] + last
                ):
                    break
                place = (place + np.uint64(1)) & mask
            if not table[place]:
                table[place] = np.uint32(row + 1)
            elif twice < 0:
                twice = row
    return twice


@compiled_inside
def _ask_for(row: Any, starts: Rows, ends_at: Rows, blobs_at: Rows, bytes_too: bool) -> None:
    """Ask for the end of a row's id, or, once that is there, for its bytes."""
    if 0 <= row < starts[-1]:
        part = part_of(starts, row)
        if ends_at[part] != 0:
            at = ends_at[part] + 8 * (row - starts[part])
            if not bytes_too:
                prefetch(at)
            elif row > starts[part]:
                prefetch(blobs_at[part] + np.int64(word_at(at - 8)))


@compiled
def _find(
    text: Any,
    stops: Rows,
    gap: int,
    table: Table,
    starts: Rows,
    ends_at: Rows,
    blobs_at: Rows,
    sizes: Rows,
    removed: int,
    flags: int,
    rows: Rows,
    first: int,
) -> int:
    """Look up the ids from the number ``first`` on; return the first that cannot be yet, or -1.

    That is one whose part, that of ``rows[number]``, is not open. All are hashed first and what
    they will touch is asked for, since every look-up misses caches.
    """
    mask = np.uint64(len(table) - 1)
    places = np.empty(len(rows), np.uint64)
    for number in range(first, len(rows)):
        begin = text + (stops[number - 1] + gap if number > 0 else 0)
        places[number] = _hash(begin, text + stops[number]) & mask
        prefetch(table.ctypes.data + 4 * np.int64(places[number]))
    for number in range(first, len(rows)):
        _ask_for(np.int64(table[places[number]]) - 1, starts, ends_at, blobs_at, False)
    for number in range(first, len(rows)):
        _ask_for(np.int64(table[places[number]]) - 1, starts, ends_at, blobs_at, True)
    for number in range(first, len(rows)):
        begin = text + (stops[number - 1] + gap if number > 0 else 0)
        place, end = places[number], text + stops[number]
        rows[number] = -1
        for _ in range(len(table)):
            row = np.int64(table[place]) - 1
            if row < 0:
                break
            # a damaged table, or damaged ends, equal nothing
            if row < starts[-1] and not _is_gone(removed, flags, row):
                part = part_of(starts, row)
                if ends_at[part] == 0:
                    rows[number] = row
                    return number
                blob = blobs_at[part]
                low, high = _span(row, part, starts, ends_at)
                inside = 0 <= low < high <= sizes[part]
                if inside and _equal(begin, end, blob + low, blob + high):
                    rows[number] = row
                    break
            place = (place + np.uint64(1)) & mask
    return -1
