"""Compiled walks over images that several queries want: rows that are read serve several at once.

What the arguments mean: see ``_row_walks``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._byte_tiles import halved
from patchrerank.kernels._processor import FEATURES
from patchrerank.kernels._row_walks import Halves
from patchrerank.kernels._tiles import dot_tile, prefetch, scale_at
from patchrerank.kernels.jit import compiled_inside, compiled_within
from patchrerank.types import Floats, Rows

Doubles = npt.NDArray[np.float64]
ROWS = 4  # rows of an image walked at a time: memory streams
QUERIES = 6 if FEATURES.get("avx512f") else 3  # that share loaded rows: their sums fill registers
FEW = QUERIES // 2  # the last ones of an image
MANY_ASKED, FEW_ASKED = (0,) * QUERIES, (0,) * FEW
LINE = 64  # bytes

Image = tuple[int, int, int]
"""Address of the first row, how many there are, address of the first scale."""


@compiled_inside
def _rows_of(image: Image, stride: int, step: int) -> tuple[int, int, int, int]:
    """Return the addresses of one row of each of an image's four streams."""
    quarter, last = (image[1] + ROWS - 1) // ROWS, image[1] - 1
    return (
        image[0] + min(step, last) * stride,
        image[0] + min(step + quarter, last) * stride,
        image[0] + min(step + 2 * quarter, last) * stride,
        image[0] + min(step + 3 * quarter, last) * stride,
    )


@compiled_inside
def _share_image(
    tag: np.generic,
    stride: int,
    scaled: bool,
    dim: int,
    image: Image,
    then: Image,
    asked: tuple[int, ...],
    held: tuple[Rows, Floats, Floats, Rows],
) -> None:
    """Walk one image in four streams for as many queries as ``asked`` is long.

    ``then``: the image that comes next, whose rows are asked for meanwhile. ``held``: the queries'
    addresses; and, of each row and query, sums, best scores and their rows.
    """
    table, sums, best, win = held
    _, count, scales = image
    quarter, width = (count + ROWS - 1) // ROWS, len(asked)
    queries, out, last = table.ctypes.data, sums.ctypes.data, count - 1
    best[:] = -np.inf
    win[:] = 0
    for step in range(quarter):
        rows, later = _rows_of(image, stride, step), _rows_of(then, stride, step)
        dot_tile(tag, asked, queries, rows, later, dim, out)
        if scaled:
            b, c = min(step + quarter, last), min(step + 2 * quarter, last)
            d = min(step + 3 * quarter, last)
            for query in range(width):
                sums[query] *= scale_at(scales, step)
                sums[width + query] *= scale_at(scales, b)
                sums[2 * width + query] *= scale_at(scales, c)
                sums[3 * width + query] *= scale_at(scales, d)
        for pair in range(ROWS * width):
            better = sums[pair] > best[pair]
            best[pair] = sums[pair] if better else best[pair]
            win[pair] = step if better else win[pair]
    for row in range(1, ROWS):
        for query in range(width):
            if best[row * width + query] > best[query]:
                best[query] = best[row * width + query]
                win[query] = min(win[row * width + query] + row * quarter, count - 1)


@compiled_within
def walk_images(
    tag: np.generic,
    stride: int,
    scaled: bool,
    queries: Floats,
    images: Rows,
    members: Rows,
    scores: Floats,
    patches: Rows,
) -> None:
    """Answer slots grouped by image: each image is read once for all queries that want it.

    ``images`` int64 ``(G, 5)``: address of the first row and of its scale, count, first and
    past-the-last member; ``members`` int64 ``(M, 2)``: query and slot; ``scores`` and ``patches``
    ``(Q, K)``.
    """
    dim = queries.shape[1] if scaled else 0
    halves, factors = np.empty((len(queries), dim), dtype=np.int16), np.ones(len(queries))
    if scaled:
        for query in range(len(queries)):
            factors[query] = halved(queries[query], halves[query])
    _share(tag, stride, scaled, queries, halves, factors, images, members, scores, patches)


@compiled_inside
def _share(
    tag: np.generic,
    stride: int,
    scaled: bool,
    queries: Floats,
    halves: Halves,
    factors: Doubles,
    images: Rows,
    members: Rows,
    scores: Floats,
    patches: Rows,
) -> None:
    """Do so; see ``_walk``."""
    dim = queries.shape[1]
    base_q, step_q = np.int64(queries.ctypes.data), 4 * dim
    if scaled:
        base_q, step_q = np.int64(halves.ctypes.data), 2 * dim
    sums = np.empty(ROWS * QUERIES, dtype=np.float32)
    best, win = np.empty(ROWS * QUERIES, np.float32), np.empty(ROWS * QUERIES, np.int64)
    table = np.empty(QUERIES, np.int64)
    for number in range(len(images)):
        begin, scales, count, first, stop = images[number]
        image, member = (begin, count, scales), first
        following = images[min(number + 1, len(images) - 1)]
        then = (following[0], following[2], following[1])
        if scaled:
            for offset in range(0, 4 * then[1] + LINE, LINE):
                prefetch(then[2] + offset)
        while member < stop:
            left = stop - member
            for column in range(QUERIES):
                table[column] = base_q + members[member + min(column, left - 1), 0] * step_q
            width = QUERIES if left > FEW else FEW
            held = (table, sums, best, win)
            if width == FEW:
                _share_image(tag, stride, scaled, dim, image, then, FEW_ASKED, held)
            else:
                _share_image(tag, stride, scaled, dim, image, then, MANY_ASKED, held)
            for column in range(min(width, left)):
                query, slot = members[member + column]
                scores[query, slot] = np.float32(best[column] * factors[query])
                patches[query, slot] = win[column]
            member += width
