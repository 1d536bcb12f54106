"""Compiled comparison of descriptor sets: matrix product and column maximum in one pass.

No similarity matrix is written, candidates are read in place. Queries come packed (dimension by
dimension, ``WIDTH`` descriptors side by side); see ``_set_tiles`` for what happens inside.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import carray

from patchrerank.kernels._set_byte_tiles import BLOCK, GROUPS, HAS_BYTES, MOST, byte_tile
from patchrerank.kernels._set_tiles import (
    BIAS,
    HAS_INT8,
    ROWS,
    VECTORS,
    WIDTH,
    pointer,
    set_tile,
    widen,
)
from patchrerank.kernels._tiles import scale_at
from patchrerank.kernels.jit import compiled, compiled_inside
from patchrerank.types import Floats, Rows

__all__ = [
    "BIAS",
    "BLOCK",
    "GROUPS",
    "HAS_BYTES",
    "HAS_INT8",
    "MOST",
    "VECTORS",
    "WIDTH",
    "compare_byte_slots",
    "compare_int8_slots",
    "compare_slots",
]

CHUNK = 96  # candidate rows that stay in the second cache while all queries pass


@compiled_inside
def _six(row: int, last: int) -> tuple[int, int, int, int, int, int]:
    return (
        row,
        min(row + 1, last),
        min(row + 2, last),
        min(row + 3, last),
        min(row + 4, last),
        min(row + 5, last),
    )


@compiled_inside
def _pass_queries(
    tag: np.generic,
    packed: Floats,
    rows: tuple[int, int],
    operands: tuple[int, int, int, int],
    extras: tuple[int, int],
    best: Floats,
    where: npt.NDArray[np.int32],
) -> None:
    """Compare a chunk of candidate rows (number of the first, count) with all queries.

    The first of them pass while as many rows from ``later`` on, the last operand, come nearer.
    """
    first, count = rows
    base, stride, steps, later = operands
    last, query = count - 1, np.int64(packed.ctypes.data)
    best_at, where_at = np.int64(best.ctypes.data), np.int64(where.ctypes.data)
    left = len(best) // WIDTH
    while left > 0:
        vectors = min(left, VECTORS)
        for r in range(0, count, ROWS):
            six = _six(r, last)
            walk, answer = (query, base, stride, steps, later), (first + r, best_at, where_at)
            later += ROWS * stride
            if vectors == 4:
                set_tile(tag, (0, 0, 0, 0), six, walk, extras, answer)
            elif vectors == 3:
                set_tile(tag, (0, 0, 0), six, walk, extras, answer)
            elif vectors == 2:
                set_tile(tag, (0, 0), six, walk, extras, answer)
            else:
                set_tile(tag, (0,), six, walk, extras, answer)
        query, later = query + 4 * WIDTH * vectors * steps, base
        best_at += 4 * WIDTH * vectors
        where_at += 4 * WIDTH * vectors
        left -= vectors


@compiled
def compare_slots(
    tag: np.generic,
    stride: int,
    scaled: bool,
    packed: Floats,
    dim: int,
    begins: Rows,
    scales: Rows,
    places: tuple[int, int, int, int],
    counts: Rows,
    best: Floats,
    where: npt.NDArray[np.int32],
) -> None:
    """Fill best and where ``(K, n)``: for each slot the best value of each query descriptor.

    ``begins``, ``scales`` and ``places`` tell where its rows lie; see ``_row_walks``.
    """
    line = np.empty((CHUNK, dim), dtype=np.float32)
    whole = np.float32(0)
    for slot in range(len(counts)):
        best[slot] = -np.inf
        where[slot] = -1 if counts[slot] == 0 else 0
        for first in range(0, counts[slot], CHUNK):
            rows = (first, min(CHUNK, counts[slot] - first))
            source = places[0] + places[1] * begins[slot] + first * stride
            scale_at_first = places[2] + places[3] * scales[slot] + 4 * first
            step = stride
            if scaled or stride != 4 * dim:
                for row in range(rows[1]):
                    scale = np.float32(1)
                    if scaled:
                        scale = scale_at(scale_at_first, row)
                    target = np.int64(line[row].ctypes.data)
                    widen(tag, source + row * stride, dim, scale, target)
                source, step = np.int64(line.ctypes.data), 4 * dim
            then = min(slot + 1, len(counts) - 1)
            later = places[0] + places[1] * begins[then] + first * stride
            operands = (source, step, dim, source if step != stride else later)
            _pass_queries(whole, packed, rows, operands, (0, 0), best[slot], where[slot])


@compiled
def compare_int8_slots(
    packed: Floats,
    dim: int,
    begins: Rows,
    scales: Rows,
    places: tuple[int, int, int, int],
    counts: Rows,
    best: Floats,
    where: npt.NDArray[np.int32],
) -> None:
    """Do the same with int8 queries (their own scales not applied); ``dim`` divides by 4."""
    biases = np.empty(CHUNK, dtype=np.int32)
    tag = np.int8(0)
    for slot in range(len(counts)):
        best[slot] = -np.inf
        where[slot] = -1 if counts[slot] == 0 else 0
        for first in range(0, counts[slot], CHUNK):
            rows = (first, min(CHUNK, counts[slot] - first))
            source = places[0] + places[1] * begins[slot] + first * dim
            codes = carray(pointer(source, tag), (rows[1], dim))
            for row in range(rows[1]):
                total = np.int32(0)
                code = codes[row]
                for index in range(dim):
                    total += np.int32(code[index])
                biases[row] = BIAS * total
            scale_at_first = places[2] + places[3] * scales[slot] + 4 * first
            extras = (scale_at_first, biases.ctypes.data)
            then = min(slot + 1, len(counts) - 1)
            later = places[0] + places[1] * begins[then] + first * dim
            operands = (source, dim, dim // 4, later)
            _pass_queries(tag, packed, rows, operands, extras, best[slot], where[slot])


@compiled
def compare_byte_slots(
    packed: Floats,
    biases: npt.NDArray[np.int32],
    dim: int,
    begins: Rows,
    scales: Rows,
    places: tuple[int, int, int, int],
    counts: Rows,
    best: Floats,
    where: npt.NDArray[np.int32],
) -> None:
    """Do the same with queries that are rounded as ``_set_byte_tiles`` says, ``BIAS × Σ query``."""
    blocks, tag = (dim + BLOCK - 1) // BLOCK, np.int8(0)
    line = np.full((CHUNK, blocks * BLOCK), BIAS, dtype=np.uint8)
    for slot in range(len(counts)):
        best[slot] = -np.inf
        where[slot] = -1 if counts[slot] == 0 else 0
        for first in range(0, counts[slot], CHUNK):
            count = min(CHUNK, counts[slot] - first)
            source = places[0] + places[1] * begins[slot] + first * dim
            codes = carray(pointer(source, tag), (count, dim))
            for row in range(count):
                for index in range(dim):
                    line[row, index] = np.int16(codes[row, index]) + np.int16(BIAS)
            scale_at_first = places[2] + places[3] * scales[slot] + 4 * first
            operands = (line.ctypes.data, blocks * BLOCK, blocks)
            extras = (scale_at_first, biases.ctypes.data)
            _pass_bytes(packed, (first, count), operands, extras, best[slot], where[slot])


@compiled_inside
def _pass_bytes(
    packed: Floats,
    rows: tuple[int, int],
    operands: tuple[int, int, int],
    extras: tuple[int, int],
    best: Floats,
    where: npt.NDArray[np.int32],
) -> None:
    """Compare a chunk of candidate rows (number of the first, count) with all queries."""
    first, last = rows[0], rows[1] - 1
    base, stride, blocks = operands
    for column in range(0, len(best), WIDTH):
        query = np.int64(packed.ctypes.data) + column * blocks * BLOCK
        more = (extras[0], extras[1] + 4 * column)
        places = (best.ctypes.data + 4 * column, where.ctypes.data + 4 * column)
        for r in range(0, rows[1], ROWS):
            answer = (first + r, places[0], places[1])
            byte_tile(_six(r, last), (query, base, stride, blocks), more, answer)
