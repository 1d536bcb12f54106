"""Compiled walks over float32, float16 and int8 rows: the best inner product of each image.

``base`` is the address of the first row, ``stride`` the bytes from row to row; ``tag`` is any
float32, uint16 (half floats) or int8 value whose type says how rows are stored; ``scales`` is
the address of one float32 a row, or 0.
"""

from __future__ import annotations

import numpy as np

from patchrerank.kernels._tiles import dot_tile, scale_at
from patchrerank.kernels.jit import compiled
from patchrerank.types import Floats, Rows

ROWS = 4  # rows walked at a time: four memory streams
QUERIES = 4  # queries that share the loaded rows of one image
SLOT, AT, LEFT, BEGIN, WIN = range(5)  # what a lane of the walk holds


@compiled
def _board(
    lane: int,
    slot: int,
    stop: int,
    begins: Rows,
    counts: Rows,
    scores: Floats,
    patches: Rows,
    lanes: Rows,
    best: Floats,
) -> int:
    """Put the next image that has patches on a lane; answer empty slots on the way."""
    while slot < stop:
        if counts[slot] > 0:
            lanes[lane, SLOT] = slot
            lanes[lane, AT] = begins[slot]
            lanes[lane, LEFT] = counts[slot]
            lanes[lane, BEGIN] = begins[slot]
            lanes[lane, WIN] = begins[slot]
            best[lane] = -np.inf
            return slot + 1
        scores[slot] = -np.inf
        patches[slot] = -1
        slot += 1
    lanes[lane, SLOT] = -1
    return slot


@compiled
def _stride_on(
    tag: np.generic,
    base: int,
    stride: int,
    scales: int,
    query: int,
    dim: int,
    steps: int,
    lanes: Rows,
    best: Floats,
) -> None:
    """Walk ``steps`` rows on all four lanes and keep the best row of each."""
    sums = np.empty(ROWS, dtype=np.float32)
    out = np.int64(sums.ctypes.data)
    a, b, c, d = lanes[0, AT], lanes[1, AT], lanes[2, AT], lanes[3, AT]
    best_a, best_b, best_c, best_d = best[0], best[1], best[2], best[3]
    for _ in range(steps):
        rows = (base + a * stride, base + b * stride, base + c * stride, base + d * stride)
        dot_tile(tag, (query,), rows, dim, out)
        if scales:
            sums[0] *= scale_at(scales, a)
            sums[1] *= scale_at(scales, b)
            sums[2] *= scale_at(scales, c)
            sums[3] *= scale_at(scales, d)
        if sums[0] > best_a:
            best_a, lanes[0, WIN] = sums[0], a
        if sums[1] > best_b:
            best_b, lanes[1, WIN] = sums[1], b
        if sums[2] > best_c:
            best_c, lanes[2, WIN] = sums[2], c
        if sums[3] > best_d:
            best_d, lanes[3, WIN] = sums[3], d
        a, b, c, d = a + 1, b + 1, c + 1, d + 1
    best[0], best[1], best[2], best[3] = best_a, best_b, best_c, best_d


@compiled
def walk_slots(
    tag: np.generic,
    base: int,
    stride: int,
    scales: int,
    query: Floats,
    begins: Rows,
    counts: Rows,
    scores: Floats,
    patches: Rows,
) -> None:
    """Answer all slots ``(K,)`` of one query, four images at a time."""
    lanes = np.zeros((ROWS, 5), dtype=np.int64)
    best = np.empty(ROWS, dtype=np.float32)
    address, stop, slot = query.ctypes.data, len(counts), 0
    for lane in range(ROWS):
        slot = _board(lane, slot, stop, begins, counts, scores, patches, lanes, best)
    while True:
        live, steps = -1, 0
        for lane in range(ROWS):
            if lanes[lane, SLOT] >= 0 and (live < 0 or lanes[lane, LEFT] < steps):
                live, steps = lane, lanes[lane, LEFT]
        if live < 0:
            return
        for lane in range(ROWS):
            if lanes[lane, SLOT] < 0:  # nothing left for this lane: it walks along
                lanes[lane, AT] = lanes[live, AT]
        _stride_on(tag, base, stride, scales, address, len(query), steps, lanes, best)
        for lane in range(ROWS):
            lanes[lane, AT] += steps
            lanes[lane, LEFT] -= steps
            if lanes[lane, SLOT] >= 0 and lanes[lane, LEFT] == 0:
                done = lanes[lane, SLOT]
                scores[done] = best[lane]
                patches[done] = lanes[lane, WIN] - lanes[lane, BEGIN]
                slot = _board(lane, slot, stop, begins, counts, scores, patches, lanes, best)


@compiled
def _share_image(
    tag: np.generic,
    base: int,
    stride: int,
    scales: int,
    dim: int,
    image: tuple[int, int],
    addresses: tuple[int, ...],
    sums: Floats,
    best: Floats,
    win: Rows,
) -> None:
    """Walk one image in four streams for up to four queries; best and win are ``(4, 4)``."""
    begin, count = image
    quarter = (count + ROWS - 1) // ROWS
    out, last = np.int64(sums.ctypes.data), begin + count - 1
    best[:] = -np.inf
    win[:] = 0
    for step in range(quarter):
        a = begin + step
        b, c = min(a + quarter, last), min(a + 2 * quarter, last)
        d = min(a + 3 * quarter, last)
        rows = (base + a * stride, base + b * stride, base + c * stride, base + d * stride)
        dot_tile(tag, addresses, rows, dim, out)
        if scales:
            sums[0] *= scale_at(scales, a)
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
    base: int,
    stride: int,
    scales: int,
    queries: Floats,
    images: Rows,
    members: Rows,
    scores: Floats,
    patches: Rows,
) -> None:
    """Answer slots grouped by image: each image is read once for all queries that want it.

    ``images`` int64 ``(G, 4)``: begin, count, first and past-the-last member; ``members`` int64
    ``(M, 2)``: query and slot; ``scores`` and ``patches`` ``(Q, K)``.
    """
    dim = queries.shape[1]
    base_q, step_q = np.int64(queries.ctypes.data), 4 * dim
    sums = np.empty((ROWS, QUERIES), dtype=np.float32)
    best = np.empty((ROWS, QUERIES), dtype=np.float32)
    win = np.empty((ROWS, QUERIES), dtype=np.int64)
    for number in range(len(images)):
        begin, count, first, stop = images[number]
        for member in range(first, stop, QUERIES):
            last = stop - 1
            addresses = (
                base_q + members[member, 0] * step_q,
                base_q + members[min(member + 1, last), 0] * step_q,
                base_q + members[min(member + 2, last), 0] * step_q,
                base_q + members[min(member + 3, last), 0] * step_q,
            )
            _share_image(tag, base, stride, scales, dim, (begin, count), addresses, sums, best, win)
            for column in range(min(QUERIES, stop - member)):
                query, slot = members[member + column]
                scores[query, slot] = best[0, column]
                patches[query, slot] = win[0, column]
