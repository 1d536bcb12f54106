"""Compiled flood fill on small maps."""

from __future__ import annotations

import math

import numpy as np

from patchrerank.kernels.jit import compiled, compiled_inside
from patchrerank.types import Floats, Rows


@compiled
def _span(low: float, high: float, cells: int) -> tuple[int, int]:
    """Return the first and past-the-last cell whose centre lies in ``[low, high]``."""
    first = max(0, math.ceil(low * cells - 0.5))
    stop = min(cells, math.floor(high * cells - 0.5) + 1)
    if stop <= first:
        first = min(cells - 1, max(0, int((low + high) / 2 * cells)))
        stop = first + 1
    return first, stop


@compiled_inside
def _peak(values: Floats, window: Floats) -> tuple[int, int]:
    left, right = _span(window[0], window[2], values.shape[1])
    top, bottom = _span(window[1], window[3], values.shape[0])
    best = (top, left)
    for y in range(top, bottom):
        for x in range(left, right):
            if values[y, x] > values[best]:
                best = (y, x)
    return best


@compiled_inside
def _reach(value: float, outside: float, threshold: float) -> float:
    """Return how many cells beyond its centre a region goes on towards a cell outside it."""
    return (value - threshold) / (value - outside)


@compiled_inside
def _fill(
    values: Floats, peak: tuple[int, int], threshold: float, seen: Rows, stack: Rows, box: Floats
) -> None:
    """Flood from the peak; ``box`` becomes x0, y0, x1, y1 in cells."""
    height, width = values.shape
    box[0], box[1], box[2], box[3] = width, height, 0.0, 0.0
    seen[:] = 0
    seen[peak] = 1
    level = values[peak] <= threshold
    stack[0, 0], stack[0, 1] = peak
    size = 1
    while size > 0:
        size -= 1
        y, x = stack[size, 0], stack[size, 1]
        for side in range(4):
            step = 1 if side >= 2 else -1
            ny, nx = (y, x + step) if side % 2 == 0 else (y + step, x)
            reach = 0.5
            if 0 <= ny < height and 0 <= nx < width:
                if values[ny, nx] >= threshold:
                    reach = 0.0
                    if seen[ny, nx] == 0:
                        seen[ny, nx] = 1
                        stack[size, 0], stack[size, 1] = ny, nx
                        size += 1
                elif not level:
                    reach = _reach(values[y, x], values[ny, nx], threshold)
            edge = (x if side % 2 == 0 else y) + 0.5 + step * reach
            box[side] = max(box[side], edge) if step > 0 else min(box[side], edge)


@compiled
def fill_boxes(maps: Floats, windows: Floats, medians: Floats, cut: float, boxes: Floats) -> None:
    """Fill boxes ``(B, 4)`` of maps ``(B, h, w)``; what has no peak keeps its value."""
    height, width = maps.shape[1:]
    seen = np.empty((height, width), dtype=np.int64)
    stack = np.empty((height * width, 2), dtype=np.int64)
    cells = np.empty(4, dtype=np.float32)
    for number in range(len(maps)):
        values, median = maps[number], medians[number]
        peak = _peak(values, windows[number])
        if values[peak] < median:
            continue
        threshold = min(median + cut * (values[peak] - median), values[peak])
        _fill(values, peak, threshold, seen, stack, cells)
        boxes[number, 0] = max(0.0, cells[0] / width)
        boxes[number, 1] = max(0.0, cells[1] / height)
        boxes[number, 2] = min(1.0, cells[2] / width)
        boxes[number, 3] = min(1.0, cells[3] / height)
