"""Compiled look-up tables of a query: inner products with what codes mean, then whole numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._code_tiles import (
    BLOCK,
    BYTE_LOW,
    BYTE_TABLES,
    NIBBLE_LOW,
    NIBBLE_TABLES,
)
from patchrerank.kernels._rotation import turn
from patchrerank.kernels.jit import compiled, compiled_inside, compiled_loose, compiled_within
from patchrerank.types import Floats

Bytes = npt.NDArray[np.uint8]
Entries = npt.NDArray[np.uint16]
NIBBLE = 16
"""Values of a code of 4 bits."""
HIGH = 0x7FFFFFFF


@compiled_loose
def products_of(query: Floats, by_dimension: Floats, table: Floats) -> None:
    """Write ``⟨query part j, centroid (j, c)⟩`` to ``table[j, c]``, float32 ``(m, C)``.

    ``query`` is ``(d,)``, ``by_dimension`` ``(m, d / m, C)``.
    """
    parts, width, count = by_dimension.shape
    for part in range(parts):
        products = table[part]
        products[:] = 0
        for dimension in range(width):
            value = query[part * width + dimension]
            centroids = by_dimension[part, dimension]
            for code in range(count):
                products[code] += value * centroids[code]


@compiled
def fold_table(values: Floats, bits: int, table: Floats) -> None:
    """Write the sums of the codes of ``bits`` that lie in a nibble to ``table (n, 16)``.

    ``values`` ``(m, 2 ** bits)`` are those of one code each; m may end within a nibble.
    """
    each, mask = 4 // bits, (1 << bits) - 1
    for place in range(len(table)):
        first, sums = place * each, table[place]
        sums[:] = 0
        if bits == 4 and first < len(values):
            for code in range(NIBBLE):
                sums[code] = values[first, code]
            continue
        if bits == 2 and first + 1 < len(values):
            for code in range(NIBBLE):
                sums[code] = values[first, code & 3] + values[first + 1, code >> 2]
            continue
        for number in range(min(each, len(values) - first)):
            part = values[first + number]
            for code in range(NIBBLE):
                sums[code] += part[(code >> (bits * number)) & mask]


@compiled
def rotated_table(query: Floats, signs: Floats, bits: int, table: Floats) -> None:
    """Write the products of a query ``(d,)`` with nibbles of rotated codes to ``table (n, 16)``.

    ``bits`` are those a dimension, ``signs`` the rotation's.
    """
    turned = np.empty((1, len(query)), dtype=np.float32)
    for part in range(len(query)):
        turned[0, part] = query[part]
    turn(turned, signs, False)
    plane, start, left = (len(query) + 7) // 8, 0, bits
    while left > 0:
        width = 2 if left == 3 else left
        left -= width
        values = np.empty((len(query), 1 << width), dtype=np.float32)
        for code in range(1 << width):
            level = np.float32((code - ((1 << width) - 1) / 2) * (1 << left))
            for part in range(len(query)):
                values[part, code] = turned[0, part] * level
        stop = start + 2 * plane * width
        fold_table(values, width, table[start:stop])
        start = stop


@compiled_inside
def _extremes(values: Floats, found: Floats) -> None:
    """Write the least and the largest of values to ``found (2,)``, by bits that rise with them."""
    low, high, out = np.int64(HIGH), np.int64(-HIGH), found.view(np.int32)
    keys = values.view(np.int32)
    for place in range(len(keys)):
        key = np.int64(keys[place])
        key ^= (key >> 63) & HIGH
        low = min(low, key)
        high = max(high, key)
    out[0], out[1] = low ^ ((low >> 63) & HIGH), high ^ ((high >> 63) & HIGH)


@compiled_inside
def _round(values: Floats, low: float, inverse: float, entries: Entries) -> None:
    """Write how many steps each value lies above the least."""
    for code in range(len(values)):
        entries[code] = np.int32((np.float64(values[code]) - low) * inverse + 0.5)


@compiled_inside
def low_bits(count: int) -> int:
    """Return the bits in the lower byte of an entry of tables of ``count``."""
    return NIBBLE_LOW if count == NIBBLE else BYTE_LOW


@compiled
def whole_table(table: Floats, entries: Entries) -> tuple[float, float]:
    """Round a table ``(n, C)`` to whole numbers of one step, of 14 bits, or 16 where C is not 16.

    Return step and bias: the sum of entries times the step, plus the bias, is that of values; each
    entry is off by half a step at most, so a row of n codes by ``n / 2`` steps.
    """
    bias, widest = 0.0, 0.0
    lows, ends = np.empty(len(table), dtype=np.float32), np.empty(2, dtype=np.float32)
    for place in range(len(table)):
        _extremes(table[place], ends)
        lows[place] = ends[0]
        bias += ends[0]
        widest = max(widest, np.float64(ends[1]) - np.float64(ends[0]))
    step = widest / ((1 << 2 * low_bits(table.shape[1])) - 1)
    inverse = 1 / step if step > 0 else 0.0
    for place in range(len(table)):
        _round(table[place], np.float64(lows[place]), inverse, entries[place])
    return step, bias


@compiled_within
def pack_table(entries: Entries, size: int, packed: Bytes) -> None:
    """Lay entries ``(n, C)`` of rows of ``size`` bytes out as the tiles read them.

    C is 16, two codes a byte, or 256. Rows are read in blocks of 16 bytes, the last of which ends
    where the row does; what the one before it has counted is nothing there.
    """
    packed[:] = 0
    blocks, last = (size + BLOCK - 1) // BLOCK, max(0, size - BLOCK)
    each = 2 if entries.shape[1] == NIBBLE else 1
    tables, low = NIBBLE_TABLES if each == 2 else BYTE_TABLES, low_bits(entries.shape[1])
    half = tables // (2 * each)
    mask = np.uint16((1 << low) - 1)
    for byte in range(size):
        block = byte // BLOCK
        column = byte - (last if block == blocks - 1 else block * BLOCK)
        start = (block * BLOCK + column) * tables
        for number in range(each):
            codes = entries[each * byte + number]
            lower, upper = packed[start : start + half], packed[start + half : start + 2 * half]
            for code in range(len(codes)):
                lower[code] = codes[code] & mask
            for code in range(len(codes)):
                upper[code] = codes[code] >> low
            start += 2 * half


@compiled_within
def join_table(entries: Entries, size: int, joined: Entries) -> None:
    """Write what whole bytes look up to ``joined (size, 256)``, of entries as above."""
    if entries.shape[1] == NIBBLE:
        for byte in range(size):
            low, high, sums = entries[2 * byte], entries[2 * byte + 1], joined[byte]
            for code in range(256):
                sums[code] = low[code & 15] + high[code >> 4]
    else:
        for byte in range(len(entries)):
            for code in range(entries.shape[1]):
                joined[byte, code] = entries[byte, code]
