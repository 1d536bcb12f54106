"""Compiled look-ups of 4-bit codes, two a byte: whole-number tables, then sums; see the tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import carray

from patchrerank.kernels._codes import AHEAD, fetch, pointer
from patchrerank.kernels._nibble_tiles import CHUNKS, KINDS, ROWS, nibble_tile
from patchrerank.kernels._places import copy_bytes
from patchrerank.kernels._processor import SHUFFLES
from patchrerank.kernels._tiles import scale_at
from patchrerank.kernels.jit import compiled
from patchrerank.types import Floats, Rows

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
__all__ = ["KINDS", "ROWS", "fold_table", "pack_table", "scan_slots", "whole_table", "width_of"]

CODES = 16
MOST = (1 << 14) - 1
"""The largest entry of a table."""


def width_of(size: int) -> int:
    """Return the bytes of the registers that rows of ``size`` bytes are read in; 0: none are."""
    return next((width for width in SHUFFLES if size % width == 0), min(SHUFFLES, default=0))


@compiled
def fold_table(values: Floats, bits: int, table: Floats) -> None:
    """Write the sums of the codes of ``bits`` that lie in a nibble to ``table (n, 16)``.

    ``values`` ``(m, 2 ** bits)`` are those of one code each; m may end within a nibble.
    """
    each, mask = 4 // bits, (1 << bits) - 1
    for place in range(len(table)):
        for code in range(CODES):
            total = np.float32(0)
            for number in range(each):
                part = place * each + number
                if part < len(values):
                    total += values[part, (code >> (bits * number)) & mask]
            table[place, code] = total


@compiled
def whole_table(table: Floats, entries: Ints) -> tuple[float, float]:
    """Round a table ``(n, 16)`` to whole numbers in 0 … ``MOST``, all of one step.

    Return step and bias: the sum of entries times the step, plus the bias, is that of values.
    """
    bias, widest = 0.0, 0.0
    for place in range(len(table)):
        low, high = table[place, 0], table[place, 0]
        for code in range(1, CODES):
            low, high = min(low, table[place, code]), max(high, table[place, code])
        bias += low
        widest = max(widest, np.float64(high) - np.float64(low))
    step = widest / MOST
    for place in range(len(table)):
        low = table[place].min()
        for code in range(CODES):
            value = (np.float64(table[place, code]) - low) / step if step > 0 else 0.0
            entries[place, code] = np.int32(value + 0.5)
    return step, bias


@compiled
def pack_table(entries: Ints, width: int, packed: Bytes) -> None:
    """Lay entries out as the tiles read them: chunk, byte of a part, kind, part, code."""
    parts = width // ROWS
    packed[:] = 0
    for place in range(len(entries)):
        byte = place // 2
        chunk, within = byte // width, byte % width
        part, column = within // ROWS, within % ROWS
        for half in range(2):
            kind = half + 2 * (place % 2)
            start = (((chunk * ROWS + column) * KINDS + kind) * parts + part) * CODES
            for code in range(CODES):
                packed[start + code] = np.uint8((entries[place, code] >> (7 * half)) & 127)


@compiled
def _plain_sums(entries: Ints, at: Rows, size: int, sums: Ints) -> None:
    """Do the same without registers of tables."""
    for row in range(ROWS):
        codes = carray(pointer(at[row]), (size,))
        total = 0
        for byte in range(size):
            total += entries[2 * byte, codes[byte] & 15] + entries[2 * byte + 1, codes[byte] >> 4]
        sums[row] = total


@compiled
def scan_slots(
    parts: Any,
    entries: Ints,
    packed: Bytes,
    size: int,
    scaling: tuple[float, float, bool],
    begins: Rows,
    scales: Rows,
    places: tuple[int, int, int, int],
    counts: Rows,
    scores: Floats,
    patches: Rows,
) -> None:
    """Answer the slots ``(K,)`` of one query; rows are of ``size`` bytes.

    ``parts`` is a tuple as long as registers are in units of 16 bytes, or none; ``scaling`` is
    step, bias and whether each row has a scale. ``begins``, ``scales`` and ``places`` tell where
    rows lie; see ``_row_walks``.
    """
    step, bias, scaled = scaling
    width = ROWS * max(1, len(parts))
    chunks = (size + width - 1) // width
    staged = np.zeros((ROWS, chunks * width), dtype=np.uint8)
    stage, pitch = np.int64(staged.ctypes.data), chunks * width
    at, values = np.empty(ROWS, dtype=np.int64), np.empty(ROWS, dtype=np.float32)
    sums = np.empty(ROWS, dtype=np.int32)
    at_at, sums_at, tables = at.ctypes.data, sums.ctypes.data, packed.ctypes.data
    for slot in range(len(counts)):
        after, count = slot + AHEAD, counts[slot]
        if after < len(counts) and counts[after] > 0:
            fetch(places[0] + places[1] * begins[after], counts[after] * size)
        best, win = np.float32(-np.inf), -1
        base, scale = places[0] + places[1] * begins[slot], places[2] + places[3] * scales[slot]
        for first in range(0, count, ROWS):
            for row in range(ROWS):
                at[row] = base + min(first + row, count - 1) * size
            if pitch != size:
                for row in range(ROWS):
                    copy_bytes(at[row], stage + row * pitch, size)
                    at[row] = stage + row * pitch
            sums[:] = 0
            if len(parts) == 0:
                _plain_sums(entries, at, size, sums)
            else:
                for begin in range(0, chunks, CHUNKS):
                    some = min(CHUNKS, chunks - begin)
                    table = tables + begin * width * ROWS * KINDS
                    nibble_tile(parts, at_at, begin * width, table, some, sums_at)
            for row in range(ROWS):
                values[row] = np.float32(step * sums[row] + bias)
            for row in range(min(ROWS, count - first)):
                value = values[row] * scale_at(scale, first + row) if scaled else values[row]
                if value > best or win < 0:
                    best, win = value, first + row
        scores[slot] = best
        patches[slot] = win
