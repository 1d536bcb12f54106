"""Compiled walks over images that several queries want: each row is read once for up to four.

What the arguments mean: see ``_row_walks``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._byte_tiles import halved
from patchrerank.kernels._row_walks import ROWS, Halves
from patchrerank.kernels._tiles import dot_tile, scale_at
from patchrerank.kernels.jit import compiled
from patchrerank.types import Floats, Rows

Doubles = npt.NDArray[np.float64]
QUERIES = 4  # queries that share the loaded rows of one image


@compiled
def _share_image(
    tag: np.generic,
    stride: int,
    scaled: bool,
    dim: int,
    image: tuple[int, int, int],
    addresses: tuple[int, ...],
    sums: Floats,
    best: Floats,
    win: Rows,
) -> None:
    """Walk one image in four streams for up to four queries; best and win are ``(4, 4)``."""
    begin, count, scales = image
    quarter = (count + ROWS - 1) // ROWS
    out, last = np.int64(sums.ctypes.data), count - 1
    best[:] = -np.inf
    win[:] = 0
    for step in range(quarter):
        b, c = min(step + quarter, last), min(step + 2 * quarter, last)
        d = min(step + 3 * quarter, last)
        rows = (
            begin + step * stride,
            begin + b * stride,
            begin + c * stride,
            begin + d * stride,
        )
        dot_tile(tag, addresses, rows, dim, out)
        if scaled:
            sums[0] *= scale_at(scales, step)
            sums[1] *= scale_at(scales, b)
            sums[2] *= scale_at(scales, c)
            sums[3] *= scale_at(scales, d)
        for row in range(ROWS):
            for query in range(len(addresses)):
                better = sums[row, query] > best[row, query]
                best[row, query] = sums[row, query] if better else best[row, query]
                win[row, query] = step if better else win[row, query]
    for row in range(1, ROWS):
        for query in range(len(addresses)):
            if best[row, query] > best[0, query]:
                best[0, query] = best[row, query]
                win[0, query] = min(win[row, query] + row * quarter, count - 1)


@compiled
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


@compiled
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
    sums = np.empty((ROWS, QUERIES), dtype=np.float32)
    best = np.empty((ROWS, QUERIES), dtype=np.float32)
    win = np.empty((ROWS, QUERIES), dtype=np.int64)
    for number in range(len(images)):
        begin, scales, count, first, stop = images[number]
        image = (begin, count, scales)
        for member in range(first, stop, QUERIES):
            last = stop - 1
            addresses = (
                base_q + members[member, 0] * step_q,
                base_q + members[min(member + 1, last), 0] * step_q,
                base_q + members[min(member + 2, last), 0] * step_q,
                base_q + members[min(member + 3, last), 0] * step_q,
            )
            _share_image(tag, stride, scaled, dim, image, addresses, sums, best, win)
            for column in range(min(QUERIES, stop - member)):
                query, slot = members[member + column]
                scores[query, slot] = np.float32(best[0, column] * factors[query])
                patches[query, slot] = win[0, column]
