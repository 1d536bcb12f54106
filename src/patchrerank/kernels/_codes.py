"""Compiled product-quantiser kernel: one look-up table a query, then sums of look-ups."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import carray
from numba.core import types as numba_types
from numba.extending import intrinsic

from patchrerank.kernels._tiles import prefetch
from patchrerank.kernels.jit import compiled_loose
from patchrerank.types import Floats, Rows

TABLE = 256
types: Any = numba_types


def _pointer(context: Any, address: Any) -> Any:
    """Make an address a pointer, so that one compilation serves read-only arrays as well."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.CPointer(types.uint8)(address), build


pointer: Any = intrinsic(_pointer)

AHEAD = 4  # images whose codes are fetched before their turn
LINE = 64  # bytes a cache line


@compiled_loose
def fetch(address: int, size: int) -> None:
    """Ask for ``size`` bytes, so that they are in the cache when their turn comes."""
    for offset in range(0, size, LINE):
        prefetch(address + offset)


@compiled_loose
def table_of(query: Floats, by_dimension: Floats, table: Floats) -> None:
    """Write ``⟨query part j, centroid (j, c)⟩`` to ``table[j, c]``."""
    parts, width, count = by_dimension.shape
    for part in range(parts):
        products = table[part]
        products[:] = 0
        for dimension in range(width):
            value = query[part * width + dimension]
            centroids = by_dimension[part, dimension]
            for code in range(count):
                products[code] += value * centroids[code]


@compiled_loose
def _code_at(row: npt.NDArray[np.uint8], first: int, bits: int) -> Any:
    """Return the code whose lowest bit is the bit ``first`` of a row."""
    byte, shift = first >> 3, first & 7
    value = np.int64(row[byte])
    if shift + bits > 8:
        value |= np.int64(row[byte + 1]) << 8
    return (value >> shift) & ((1 << bits) - 1)


@compiled_loose
def sum_slots(
    table: Floats,
    size: int,
    places: tuple[int, int, int, int],
    begins: Rows,
    counts: Rows,
    scores: Floats,
    patches: Rows,
) -> None:
    """Answer the slots ``(K,)`` of one query from its look-up table ``(m, 2 ** n)``.

    ``places`` and ``begins`` tell where each image's codes lie, of ``size`` bytes a row; see
    ``_row_walks``.
    """
    parts, count = table.shape
    bits = 0
    while 1 << bits < count:
        bits += 1
    for slot in range(len(counts)):
        after = slot + AHEAD
        if after < len(counts):
            fetch(places[0] + places[1] * begins[after], counts[after] * size)
        best, win = np.float32(-np.inf), -1
        codes = carray(pointer(places[0] + places[1] * begins[slot]), (counts[slot], size))
        for patch in range(counts[slot]):
            row = codes[patch]
            total = np.float32(0)
            if count == TABLE:
                for part in range(parts):
                    total += table[part, row[part]]
            else:
                for part in range(parts):
                    total += table[part, _code_at(row, part * bits, bits)]
            if total > best or win < 0:
                best, win = total, patch
        scores[slot] = best
        patches[slot] = win
