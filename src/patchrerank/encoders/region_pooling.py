"""Pooling regions out of one feature map."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from patchrerank.cells import CellAxis, Cells
from patchrerank.types import Floats

Pooling = Literal["area", "roi_align"]
Doubles = npt.NDArray[np.float64]

BINS = 7
SAMPLES = 2
"""RoI-align: a region has 7 × 7 bins of 2 × 2 points each."""


def pool_regions(
    features: Floats,
    boxes: Floats,
    pooling: Pooling = "area",
    power: float = 1.0,
    cells: Cells | None = None,
) -> Floats:
    """Return the mean feature of each region of one map.

    Both ways are a weighted mean of cells, with weights that are a product of one for the rows
    and one for the columns:

    - ``area``: each cell counts by the share of it that the region covers; exact for features
      that are constant within a cell. The outermost cells reach to the picture's borders.
    - ``roi_align``: the mean over 14 × 14 evenly spaced points, each interpolated between the
      centres of the four cells around it. Source: He et al., Mask R-CNN (ICCV 2017).

    Args:
        features: float32 ``(h, w, D)``.
        boxes: float32 ``(P, 4)`` in [0, 1] of the map, not empty.
        pooling: the way.
        power: p of a power mean, at least 1: above 1 strong cells count for more. Negative
            values keep their sign. Source: generalised-mean pooling, Radenović et al. (TPAMI
            2018); here on the gallery's side alone.
        cells: where the map's cells lie in [0, 1]; None: they share it out evenly.

    Returns:
        float32 ``(P, D)``.
    """
    height, width, dim = features.shape
    weigh = area_weights if pooling == "area" else align_weights
    where = cells or Cells.equal(height, width)
    rows = weigh(boxes[:, 1], boxes[:, 3], where.rows)
    columns = weigh(boxes[:, 0], boxes[:, 2], where.columns)
    weights = (rows[:, :, None] * columns[:, None, :]).reshape(len(boxes), height * width)
    table = _signed_power(features.reshape(height * width, dim), power)
    return _signed_power(np.asarray(weights.astype(np.float32) @ table), 1.0 / power)


def _signed_power(values: Floats, power: float) -> Floats:
    if power == 1.0:
        return values
    return np.copysign(np.abs(values) ** power, values)  # a square and a root are fast for p = 2


def area_weights(low: Floats, high: Floats, axis: CellAxis) -> Doubles:
    """Return how much of each interval lies in each cell, as shares of the cells.

    Args:
        low: ``(P,)`` where intervals begin.
        high: ``(P,)`` where they end, beyond ``low``.
        axis: where the cells lie in [0, 1].

    Returns:
        float64 ``(P, axis.count)``, rows sum to 1.
    """
    edges = np.arange(axis.count + 1, dtype=np.float64)
    start, stop = (axis.stretched(end)[:, None] * axis.count for end in (low, high))
    covered = (np.minimum(stop, edges[1:]) - np.maximum(start, edges[:-1])).clip(0.0, None)
    return np.asarray(covered / covered.sum(axis=1, keepdims=True))


def align_weights(low: Floats, high: Floats, axis: CellAxis) -> Doubles:
    """Return the mean weight of each cell over evenly spaced points, interpolated linearly.

    Arguments and result are those of :func:`area_weights`. Points beyond the centre of the first
    or last cell take that cell's value.
    """
    count = BINS * SAMPLES
    start, stop = (np.asarray(end, dtype=np.float64)[:, None] for end in (low, high))
    points = start + (np.arange(count) + 0.5) / count * (stop - start)
    at = (axis.across_map(points) * axis.count - 0.5).clip(0.0, axis.count - 1)
    distance = np.abs(at[:, :, None] - np.arange(axis.count))
    return np.asarray((1.0 - distance).clip(0.0, None).mean(axis=1))
