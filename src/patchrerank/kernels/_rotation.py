"""Compiled rotation of vectors, and the search for the codes of rotated ones."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from patchrerank.kernels.jit import compiled, compiled_inside
from patchrerank.types import Floats

STEPS = 24  # steps that are tried for a row
SMALLEST = 0.2  # the smallest of them, as a share of the largest


@compiled_inside
def _hadamard(row: Floats) -> None:
    """Transform ``(2 ** k,)`` in place."""
    size, half = len(row), 1
    while half < size:
        for start in range(0, size, 2 * half):
            for place in range(start, start + half):
                low, high = row[place], row[place + half]
                row[place], row[place + half] = low + high, low - high
        half *= 2
    length = np.float32(1 / math.sqrt(size))
    for place in range(size):
        row[place] *= length


@compiled_inside
def _halves(row: Floats) -> None:
    """Turn the two halves by 45°; the same again turns them back."""
    half, root = len(row) // 2, np.float32(math.sqrt(0.5))
    for place in range(half):
        low, high = row[place], row[half + place]
        row[place], row[half + place] = (low + high) * root, (low - high) * root


@compiled_inside
def _flip(row: Floats, signs: Floats) -> None:
    for place in range(len(row)):
        row[place] *= signs[place]


@compiled
def turn(vectors: Floats, signs: Floats, back: bool) -> None:
    """Rotate vectors ``(n, d)`` in place, or back."""
    dim = vectors.shape[1]
    power = 1
    while 2 * power <= dim:
        power *= 2
    for number in range(len(vectors)):
        row = vectors[number]
        for step in range(len(signs)):
            at = len(signs) - 1 - step if back else step
            start = (dim - power) * (at % 2)
            if not back:
                _flip(row, signs[at])
                _hadamard(row[start : start + power])
            if power < dim:
                _halves(row)
            if back:
                _hadamard(row[start : start + power])
                _flip(row, signs[at])


@compiled_inside
def _level(steps: float, levels: int) -> int:
    """Return the number of a level, from 0."""
    return min(int(steps), levels - 1)


@compiled
def find_codes(vectors: Floats, bits: int, codes: npt.NDArray[np.uint8], scales: Floats) -> None:
    """Fill codes ``(n, D)`` and scales ``(n,)`` of rotated vectors ``(n, d)``, d <= D.

    A scale is 1 over the inner product of levels and vector, times its squared norm.
    """
    dim, levels = vectors.shape[1], 1 << (bits - 1)
    for number in range(len(vectors)):
        row = vectors[number]
        peak, norm = np.float32(0), np.float32(0)
        for value in row:
            peak = max(peak, abs(value))
            norm += value * value
        if peak == 0:
            continue
        best, inverse = np.float32(-1), np.float32(0)
        for step in range(STEPS if bits > 1 else 1):
            share = 1 - (1 - SMALLEST) * step / (STEPS - 1)
            tried = np.float32(levels / (share * peak))
            dot, square = np.float32(0), np.float32(0)
            for value in row:
                size = abs(value)
                level = np.float32(_level(size * tried, levels)) + np.float32(0.5)
                dot += level * size
                square += level * level
            if dot * dot > best * square:
                best, inverse = dot * dot / square, tried
                scales[number] = norm / dot
        for place in range(dim):
            away = _level(abs(row[place]) * inverse, levels)
            codes[number, place] = levels + away if row[place] >= 0 else levels - 1 - away
