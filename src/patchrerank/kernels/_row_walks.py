"""Compiled walks over float32, float16 and int8 rows: the best inner product of each image.

``tag`` is any float32, uint16 (half floats) or int8 value whose type says how rows are stored,
``stride`` the bytes from row to row, ``scaled`` whether each row has a float32 scale. Images may
lie anywhere: ``begins``, ``scales`` and ``places`` (``base, unit, scale_base, scale_unit``) tell
the address of an image's first row, ``base + unit * begins[slot]``, and of its scale.
"""

from __future__ import annotations

import numpy as np

from patchrerank.kernels._tiles import dot_tile, scale_at
from patchrerank.kernels.jit import compiled
from patchrerank.types import Floats, Rows

ROWS = 4  # rows walked at a time: four memory streams
QUERIES = 4  # queries that share the loaded rows of one image
SLOT, AT, LEFT, BEGIN, WIN, SCALE = range(6)  # what a lane of the walk holds


@compiled
def _board(
    lane: int,
    slot: int,
    begins: Rows,
    scales: Rows,
    places: tuple[int, int, int, int],
    counts: Rows,
    scores: Floats,
    patches: Rows,
    lanes: Rows,
    best: Floats,
) -> int:
    """Put the next image that has patches on a lane; answer empty slots on the way."""
    while slot < len(counts):
        if counts[slot] > 0:
            lanes[lane, SLOT] = slot
            lanes[lane, AT] = places[0] + places[1] * begins[slot]
            lanes[lane, SCALE] = places[2] + places[3] * scales[slot]
            lanes[lane, LEFT] = counts[slot]
            lanes[lane, BEGIN] = lanes[lane, WIN] = lanes[lane, AT]
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
    stride: int,
    scaled: bool,
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
    for step in range(steps):
        dot_tile(tag, (query,), (a, b, c, d), dim, out)
        if scaled:
            sums[0] *= scale_at(lanes[0, SCALE], step)
            sums[1] *= scale_at(lanes[1, SCALE], step)
            sums[2] *= scale_at(lanes[2, SCALE], step)
            sums[3] *= scale_at(lanes[3, SCALE], step)
        if sums[0] > best_a:
            best_a, lanes[0, WIN] = sums[0], a
        if sums[1] > best_b:
            best_b, lanes[1, WIN] = sums[1], b
        if sums[2] > best_c:
            best_c, lanes[2, WIN] = sums[2], c
        if sums[3] > best_d:
            best_d, lanes[3, WIN] = sums[3], d
        a, b, c, d = a + stride, b + stride, c + stride, d + stride
    best[0], best[1], best[2], best[3] = best_a, best_b, best_c, best_d


@compiled
def walk_slots(
    tag: np.generic,
    stride: int,
    scaled: bool,
    query: Floats,
    begins: Rows,
    scales: Rows,
    places: tuple[int, int, int, int],
    counts: Rows,
    scores: Floats,
    patches: Rows,
) -> None:
    """Answer all slots ``(K,)`` of one query, four images at a time."""
    lanes = np.zeros((ROWS, 6), dtype=np.int64)
    best = np.empty(ROWS, dtype=np.float32)
    address, slot, source = query.ctypes.data, 0, (begins, scales, places)
    for lane in range(ROWS):
        slot = _board(lane, slot, *source, counts, scores, patches, lanes, best)
    while True:
        live, steps = -1, 0
        for lane in range(ROWS):
            if lanes[lane, SLOT] >= 0 and (live < 0 or lanes[lane, LEFT] < steps):
                live, steps = lane, lanes[lane, LEFT]
        if live < 0:
            return
        for lane in range(ROWS):
            if lanes[lane, SLOT] < 0:  # nothing left for this lane: it walks along
                lanes[lane, AT], lanes[lane, SCALE] = lanes[live, AT], lanes[live, SCALE]
        _stride_on(tag, stride, scaled, address, len(query), steps, lanes, best)
        for lane in range(ROWS):
            lanes[lane, AT] += steps * stride
            lanes[lane, SCALE] += 4 * steps
            lanes[lane, LEFT] -= steps
            if lanes[lane, SLOT] >= 0 and lanes[lane, LEFT] == 0:
                done = lanes[lane, SLOT]
                scores[done] = best[lane]
                patches[done] = (lanes[lane, WIN] - lanes[lane, BEGIN]) // stride
                slot = _board(lane, slot, *source, counts, scores, patches, lanes, best)


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
    dim = queries.shape[1]
    base_q, step_q = np.int64(queries.ctypes.data), 4 * dim
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
                scores[query, slot] = best[0, column]
                patches[query, slot] = win[0, column]
