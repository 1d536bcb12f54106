"""Compiled scans of codes: the best row of each image, many images' rows side by side."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._code_tables import Bytes, Entries
from patchrerank.kernels._code_tiles import (
    BLOCK,
    BLOCKS,
    BYTE_LOW,
    BYTE_TABLES,
    LINES,
    LOOKS_BYTES_UP,
    NIBBLE_LOW,
    NIBBLE_TABLES,
    ROWS,
    STREAMS,
    WIDTH,
    add_bytes,
    add_nibbles,
    row_sums,
    spread,
)
from patchrerank.kernels._places import copy_bytes
from patchrerank.kernels._tiles import byte_at, prefetch, scale_at
from patchrerank.kernels.jit import compiled_inside
from patchrerank.types import Floats, Rows

Ints = npt.NDArray[np.int32]
Where = tuple[Rows, Rows, tuple[int, int, int, int], Rows]
"""Begins, scales, places (see ``_row_walks``) and counts of slots ``(K,)``."""
State = tuple[Rows, Rows, Rows, Rows]
"""Addresses of rows ``(AHEAD + 1, ROWS)``, how many there are, where boarding is, and steps."""

LINE = 64  # bytes a cache line
AHEAD = 256 // ROWS  # how many times so many rows are asked for before their turn
HIGH, LAST = 0x7FFFFFFF, 0xFFFFFFFF


@compiled_inside
def _board(cursor: Rows, size: int, scaled: bool, where: Where, at: Rows) -> int:
    """Write the addresses of the next rows; ``cursor``: slot, row. Return how many there are."""
    begins, scales, places, counts = where
    slot, row, lane = cursor[0], cursor[1], 0
    while lane < ROWS and slot < len(counts):
        some = min(ROWS - lane, counts[slot] - row)
        start = places[0] + places[1] * begins[slot] + row * size
        piece = at[lane : lane + some]
        for number in range(some):
            piece[number] = start + number * size
        if some > 0:
            prefetch(start + some * size - 1)
        if scaled and some > 0:
            scale = places[2] + places[3] * scales[slot] + 4 * row
            for offset in range(0, 4 * some + LINE, LINE):
                prefetch(scale + offset)
        lane, row = lane + some, row + some
        if row >= counts[slot]:
            slot, row = slot + 1, 0
    cursor[0], cursor[1] = slot, row
    if lane > 0:
        at[lane:] = at[0]
    return lane


@compiled_inside
def _plan(size: int, steps: Rows) -> None:
    """Write row (times 8) and byte of each line that a stream of rows is asked for, ``(n, 2)``."""
    for number in range(len(steps)):
        row = min(LINE * number // size, ROWS // STREAMS - 1)
        steps[number, 0], steps[number, 1] = 8 * row, min(LINE * number - row * size, size - 1)


@compiled_inside
def begin(state: State, size: int, scaled: bool, where: Where) -> None:
    """Board the first rows, and ask for their lines."""
    rings, filled, cursor, steps = state
    _plan(size, steps)
    for turn in range(AHEAD):
        at = rings[turn]
        filled[turn] = _board(cursor, size, scaled, where, at)
        if filled[turn] > 0:
            for number in range(len(steps)):
                for stream in range(STREAMS):
                    row = stream * (ROWS // STREAMS) + (steps[number, 0] >> 3)
                    prefetch(at[row] + steps[number, 1])


@compiled_inside
def _unpack(bits: int, codes: int, size: int, at: Rows, stage: Bytes) -> None:
    """Copy rows of ``size`` bytes, codes of ``bits`` made bytes; at least 16 bytes behind each.

    ``codes`` are those of a row, or 0 where bytes stay as they are.
    """
    pitch, target = stage.shape[1], np.int64(stage.ctypes.data)
    for row in range(ROWS):
        source = at[row]
        at[row] = target + row * pitch
        if codes == 0:
            copy_bytes(source, at[row], size)
        for code in range(codes):
            byte, shift = source + (code * bits >> 3), code * bits & 7
            value = np.int64(byte_at(byte))
            if shift + bits > 8:
                value |= np.int64(byte_at(byte + 1)) << 8
            stage[row, code] = value >> shift & ((1 << bits) - 1)


@compiled_inside
def _add_plainly(joined: Entries, at: Rows, sums: Ints, later: Rows, steps: Rows) -> None:
    """Look the bytes of rows up, some of all rows at a time: their tables stay in the cache."""
    for first in range(0, len(joined), BLOCK):
        stop, line = min(first + BLOCK, len(joined)), first // BLOCK * (LINES // STREAMS)
        for row in range(0, ROWS, 4):
            number, stream = line + row // 4 // STREAMS, row // 4 % STREAMS
            later_row = stream * (ROWS // STREAMS) + (steps[number, 0] >> 3)
            prefetch(later[later_row] + steps[number, 1])
            a, b, c, d = at[row], at[row + 1], at[row + 2], at[row + 3]
            total_a, total_b, total_c, total_d = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
            for byte in range(first, stop):
                table = joined[byte]
                total_a += table[byte_at(a + byte)]
                total_b += table[byte_at(b + byte)]
                total_c += table[byte_at(c + byte)]
                total_d += table[byte_at(d + byte)]
            sums[row] += total_a
            sums[row + 1] += total_b
            sums[row + 2] += total_c
            sums[row + 3] += total_d


@compiled_inside
def _keep_best(
    cursor: Rows,
    keys: Rows,
    scaled: bool,
    where: Where,
    rows: int,
    values: Floats,
    scores: Floats,
    patches: Rows,
) -> None:
    """Give values of rows to their images; ``cursor``: slot, row.

    A key is a value, as bits that rise with it, over the row's number from behind.
    """
    _, scales, places, counts = where
    slot, row, lane = cursor[0], cursor[1], 0
    bits, found, best = values.view(np.int32), scores.view(np.int32), keys[0]
    while slot < len(counts):
        count = counts[slot]
        some = min(rows - lane, count - row)
        if scaled:
            scale = places[2] + places[3] * scales[slot]
            piece_of = values[lane : lane + some]
            for number in range(some):
                piece_of[number] = piece_of[number] * scale_at(scale, row + number) + np.float32(0)
        piece, behind = bits[lane : lane + some], LAST - row
        for number in range(some):
            value = np.int64(piece[number])
            value ^= (value >> 63) & HIGH
            best = max(best, (value << 32) | (behind - number))
        lane, row = lane + some, row + some
        if row < count:
            break
        if count > 0:
            value = best >> 32
            found[slot] = value ^ ((value >> 63) & HIGH)
            patches[slot] = LAST - (best & LAST)
        else:
            scores[slot], patches[slot] = -np.inf, -1
        slot, row, best = slot + 1, 0, np.int64(-(1 << 63))
    cursor[0], cursor[1], keys[0] = slot, row, best


@compiled_inside
def walk(
    form: tuple[int, int, bool, bool],
    stage: Bytes,
    bits: int,
    tables: tuple[Bytes, Entries],
    scaling: tuple[float, float],
    state: State,
    where: Where,
    scores: Floats,
    patches: Rows,
) -> None:
    """Answer slots ``(K,)``; ``form``: bytes of a row, those looked up, of whole codes, scaled."""
    size, width, of_bytes, scaled = form
    packed, joined = tables
    rings, filled, boarded, steps = state
    columns, halves = np.empty(BLOCK * ROWS, np.uint8), np.zeros(2 * ROWS, np.int16)
    sums, values = np.empty(ROWS, np.int32), np.empty(ROWS, np.float32)
    left, keys = np.zeros(2, np.int64), np.full(1, -(1 << 63), np.int64)
    step, bias = scaling
    turn, last = 0, 0
    while True:
        at, rows, after = rings[turn], filled[turn], (turn + AHEAD) % (AHEAD + 1)
        filled[after] = _board(boarded, size, scaled, where, rings[after])
        last = after if filled[after] > 0 else last
        if rows > 0:
            if len(stage) > 0:
                _unpack(bits, width if of_bytes else 0, size, at, stage)
            sums[:] = 0
            if len(packed) > 0:
                what = (width, of_bytes)
                _add_in_registers(what, packed, at, columns, halves, sums, rings[last], steps)
            else:
                _add_plainly(joined, at, sums, rings[last], steps)
            for row in range(ROWS):
                values[row] = np.float32(step * sums[row] + bias) + np.float32(0)
        _keep_best(left, keys, scaled, where, rows, values, scores, patches)
        if rows < ROWS:
            return
        turn = (turn + 1) % (AHEAD + 1)


@compiled_inside
def _add_in_registers(
    what: tuple[int, bool],
    packed: Bytes,
    at: Rows,
    columns: Bytes,
    halves: npt.NDArray[np.int16],
    sums: Ints,
    later: Rows,
    steps: Rows,
) -> None:
    """Look the bytes of rows up in registers of tables."""
    if WIDTH > 0:
        width, of_bytes = what
        blocks = (width + BLOCK - 1) // BLOCK
        columns_at, halves_at, later_at = columns.ctypes.data, halves.ctypes.data, later.ctypes.data
        for block in range(blocks):
            first, table = min(block * BLOCK, max(0, width - BLOCK)), packed.ctypes.data
            step = steps.ctypes.data + block * (LINES // STREAMS) * 16
            spread(at.ctypes.data, first, columns_at)
            if LOOKS_BYTES_UP and of_bytes:
                table += block * BLOCK * BYTE_TABLES
                add_bytes(table, columns_at, halves_at, later_at, step)
            else:
                table += block * BLOCK * NIBBLE_TABLES
                add_nibbles(table, columns_at, halves_at, later_at, step)
            if block % BLOCKS == BLOCKS - 1 or block == blocks - 1:
                low = BYTE_LOW if of_bytes else NIBBLE_LOW
                row_sums(low, halves_at, sums.ctypes.data)
