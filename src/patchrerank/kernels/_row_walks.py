"""Compiled walks over float32, float16 and int8 rows: the best inner product of each image.

``tag`` is any float32, uint16 (half floats) or int8 value whose type says how rows are stored,
``stride`` the bytes from row to row, ``scaled`` whether each row has a float32 scale. Images may
lie anywhere: ``begins``, ``scales`` and ``places`` (``base, unit, scale_base, scale_unit``) tell
the address of an image's first row, ``base + unit * begins[slot]``, and of its scale. Rows that are
scaled are int8, for which queries are rounded to 16 bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._byte_tiles import halved
from patchrerank.kernels._lanes import (
    AT,
    BEGIN,
    BESIDE,
    COLUMNS,
    END,
    LANES,
    NEXT,
    SCALE,
    SLOT,
    THEN,
    WIN,
    ahead,
    step_on,
    streams,
)
from patchrerank.kernels._tiles import prefetch
from patchrerank.kernels.jit import compiled_inside, compiled_within
from patchrerank.types import Floats, Rows

Halves = npt.NDArray[np.int16]

LINE, MOST_SCALES = 64, 512  # bytes

Source = tuple[Rows, Rows, tuple[int, int, int, int]]


@compiled_inside
def _filled(slot: int, counts: Rows, scores: Floats, patches: Rows) -> int:
    """Return the first slot from there on that has patches; answer empty ones on the way."""
    while slot < len(counts) and counts[slot] <= 0:
        scores[slot] = -np.inf
        patches[slot] = -1
        slot += 1
    return slot


@compiled_inside
def _stage(lane: int, scaled: bool, slot: int, source: Source, counts: Rows, lanes: Rows) -> None:
    """Let a lane know the image that it walks next, if there is one, and ask for its scales."""
    begins, scales, places = source
    lanes[NEXT, lane], lanes[THEN, lane] = -1, lanes[END, lane]
    if slot < len(counts):
        lanes[NEXT, lane] = slot
        lanes[THEN, lane] = places[0] + places[1] * begins[slot]
        first = places[2] + places[3] * scales[slot]
        if scaled:
            for offset in range(0, min(4 * counts[slot] + LINE, MOST_SCALES), LINE):
                prefetch(first + offset)


@compiled_inside
def _board(lane: int, stride: int, source: Source, counts: Rows, lanes: Rows, best: Floats) -> None:
    """Put the next image on a lane: its own, or that of another lane where it has none."""
    begins, scales, places = source
    owner = lane
    for other in range(len(best)):
        if lanes[NEXT, owner] < 0:
            owner = other
    slot = lanes[NEXT, owner]
    lanes[SLOT, lane] = slot
    if slot >= 0:
        at = places[0] + places[1] * begins[slot]
        lanes[AT, lane] = lanes[BEGIN, lane] = lanes[WIN, lane] = at
        lanes[END, lane] = at + counts[slot] * stride
        lanes[SCALE, lane] = places[2] + places[3] * scales[slot]
        best[lane] = -np.inf
        lanes[NEXT, owner], lanes[THEN, owner] = -1, lanes[END, owner]


@compiled_within
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
    """Answer all slots ``(K,)`` of one query, several images at a time."""
    halves, step = np.empty(len(query) if scaled else 0, dtype=np.int16), 1.0
    if scaled:
        step = halved(query, halves)
    source = (begins, scales, places)
    _walk(tag, stride, scaled, query, halves, step, source, counts, scores, patches)


@compiled_inside
def _walk(
    tag: np.generic,
    stride: int,
    scaled: bool,
    query: Floats,
    halves: Halves,
    step: float,
    source: Source,
    counts: Rows,
    scores: Floats,
    patches: Rows,
) -> None:
    """Do so; arrays whose addresses are taken must be the caller's, or they may be freed."""
    lanes, best = np.full((COLUMNS, LANES), -1, dtype=np.int64), np.empty(streams(tag), np.float32)
    places = lanes.ctypes.data, best.ctypes.data
    far = ahead(tag) - ahead(tag) % stride if stride <= ahead(tag) else BESIDE
    address, slot = np.int64(halves.ctypes.data if scaled else query.ctypes.data), -1
    for turn in range(2):
        for lane in range(len(best)):
            slot = _filled(slot + 1, counts, scores, patches)
            _stage(lane, scaled, slot, source, counts, lanes)
            if turn == 0:
                _board(lane, stride, source, counts, lanes, best)
    while True:
        live, steps = -1, 0
        for lane in range(len(best)):
            left = (lanes[END, lane] - lanes[AT, lane]) // stride
            if lanes[SLOT, lane] >= 0 and (live < 0 or left < steps):
                live, steps = lane, left
        if live < 0:
            return
        for lane in range(len(best)):
            if lanes[SLOT, lane] < 0:  # nothing left for this lane: it walks along
                for column in (AT, END, SCALE, THEN):
                    lanes[column, lane] = lanes[column, live]
        for row in range(steps):
            step_on(tag, places, address, len(query), row, stride, far)
        for lane in range(len(best)):
            lanes[AT, lane] += steps * stride
            lanes[SCALE, lane] += 4 * steps
        for lane in range(len(best)):
            if lanes[SLOT, lane] >= 0 and lanes[AT, lane] == lanes[END, lane]:
                done = lanes[SLOT, lane]
                scores[done] = np.float32(best[lane] * step)
                patches[done] = (lanes[WIN, lane] - lanes[BEGIN, lane]) // stride
                _board(lane, stride, source, counts, lanes, best)
                if lanes[NEXT, lane] < 0:
                    slot = _filled(slot + 1, counts, scores, patches)
                    _stage(lane, scaled, slot, source, counts, lanes)
