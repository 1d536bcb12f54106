"""Compiled: the scores of patches spread over the cells of a map."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from patchrerank.kernels.jit import compiled, compiled_inside
from patchrerank.types import Floats, Rows

Doubles = npt.NDArray[np.float64]


@compiled_inside
def _bell(low: float, high: float, width: float, values: Doubles) -> None:
    """Fill in a Gaussian at the centres of cells; its σ is ``width`` sides of the patch."""
    middle, sigma = (low + high) / 2, width * max(high - low, 1e-6)
    for cell in range(len(values)):
        away = ((cell + 0.5) / len(values) - middle) / sigma
        values[cell] = math.exp(-0.5 * away * away)


@compiled
def spread(similarities: Floats, boxes: Floats, counts: Rows, width: float, maps: Floats) -> None:
    """Fill maps ``(K, n, n)`` with weighted means of scores; see ``patch_maps``."""
    cells, begin = maps.shape[1], 0
    across, down = np.empty(cells), np.empty(cells)
    totals, masses = np.empty((cells, cells)), np.empty((cells, cells))
    for slot in range(len(counts)):
        end = begin + counts[slot]
        totals[:], masses[:] = 0.0, 0.0
        lowest = np.inf
        for patch in range(begin, end):
            x0, y0, x1, y1 = boxes[patch]
            _bell(x0, x1, width, across)
            _bell(y0, y1, width, down)
            down /= max(x1 - x0, 1e-6) * max(y1 - y0, 1e-6)
            score = similarities[patch]
            lowest = min(lowest, score)
            for y in range(cells):
                for x in range(cells):
                    mass = down[y] * across[x]
                    masses[y, x] += mass
                    totals[y, x] += mass * score
        for y in range(cells):
            for x in range(cells):
                known = masses[y, x] > 1e-30
                maps[slot, y, x] = totals[y, x] / masses[y, x] if known else lowest
        begin = end
