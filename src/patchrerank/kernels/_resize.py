"""The two passes of ``resize``, compiled."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from patchrerank.kernels.jit import compiled, compiled_within

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int32]

BITS = np.int32(22)
HALF = np.int32(1 << 21)


@compiled
def across(pixels: Pixels, first: Integers, table: Integers, out: Pixels) -> None:
    """Resize every row: ``(H, W, 3)`` to ``(H, new width, 3)``."""
    if table.shape[1] == 2:
        _across_pairs(pixels, first, table, out)
        return
    red, green, blue = numba.uintp(0), numba.uintp(1), numba.uintp(2)
    for y in range(numba.uintp(pixels.shape[0])):
        for x in range(numba.uintp(table.shape[0])):
            start = numba.uintp(first[x])
            r = g = b = HALF
            for tap in range(numba.uintp(table.shape[1])):
                weight = table[x, tap]
                r += np.int32(pixels[y, start + tap, red]) * weight
                g += np.int32(pixels[y, start + tap, green]) * weight
                b += np.int32(pixels[y, start + tap, blue]) * weight
            out[y, x, red] = r >> BITS
            out[y, x, green] = g >> BITS
            out[y, x, blue] = b >> BITS


@compiled_within
def _across_pairs(pixels: Pixels, first: Integers, table: Integers, out: Pixels) -> None:
    """Do what ``across`` does for two weights a pixel (enlarging): a third faster unrolled."""
    red, green, blue = numba.uintp(0), numba.uintp(1), numba.uintp(2)
    for y in range(numba.uintp(pixels.shape[0])):
        for x in range(numba.uintp(table.shape[0])):
            left = numba.uintp(first[x])
            right = left + green
            u, v = table[x, red], table[x, green]
            r = np.int32(pixels[y, left, red]) * u + np.int32(pixels[y, right, red]) * v
            g = np.int32(pixels[y, left, green]) * u + np.int32(pixels[y, right, green]) * v
            b = np.int32(pixels[y, left, blue]) * u + np.int32(pixels[y, right, blue]) * v
            out[y, x, red] = (r + HALF) >> BITS
            out[y, x, green] = (g + HALF) >> BITS
            out[y, x, blue] = (b + HALF) >> BITS


@compiled
def down(lines: Pixels, first: Integers, table: Integers, out: Pixels) -> None:
    """Resize every column: ``(H, n)`` to ``(new height, n)``."""
    width = lines.shape[1]
    sums = np.empty(width, dtype=np.int32)
    for y in range(table.shape[0]):
        sums[:] = HALF
        for tap in range(table.shape[1]):
            weight = table[y, tap]
            line = lines[first[y] + tap]
            for x in range(width):
                sums[x] += np.int32(line[x]) * weight
        target = out[y]
        for x in range(width):
            target[x] = np.uint8(sums[x] >> BITS)
