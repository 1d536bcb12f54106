"""Compiled walks over float32, float16 and int8 rows: the best inner product of each image.

``tag`` is any float32, uint16 (half floats) or int8 value whose type says how rows are stored,
``stride`` the bytes from row to row, ``scaled`` whether each row has a float32 scale. Images may
lie anywhere: ``begins``, ``scales`` and ``places`` (``base, unit, scale_base, scale_unit``) tell
the address of an image's first row, ``base + unit * begins[slot]``, and of its scale. Rows that are
scaled are int8, for which queries are rounded to 16 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._byte_tiles import halved
from patchrerank.kernels._tiles import dot_tile, scale_at
from patchrerank.kernels.jit import compiled
from patchrerank.types import Floats, Rows

Halves = npt.NDArray[np.int16]

ROWS = 4  # rows walked at a time: four memory streams
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
    query: Any,
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
    halves, step = np.empty(len(query) if scaled else 0, dtype=np.int16), 1.0
    if scaled:
        step = halved(query, halves)
    source = (begins, scales, places)
    _walk(tag, stride, scaled, query, halves, step, source, counts, scores, patches)


@compiled
def _walk(
    tag: np.generic,
    stride: int,
    scaled: bool,
    query: Floats,
    halves: Halves,
    step: float,
    source: tuple[Rows, Rows, tuple[int, int, int, int]],
    counts: Rows,
    scores: Floats,
    patches: Rows,
) -> None:
    """Do so; arrays whose addresses are taken must be the caller's, or they may be freed."""
    lanes = np.zeros((ROWS, 6), dtype=np.int64)
    best = np.empty(ROWS, dtype=np.float32)
    address, slot = np.int64(halves.ctypes.data if scaled else query.ctypes.data), 0
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
                scores[done] = np.float32(best[lane] * step)
                patches[done] = (lanes[lane, WIN] - lanes[lane, BEGIN]) // stride
                slot = _board(lane, slot, *source, counts, scores, patches, lanes, best)
