"""Where an object lies, from the scores of a candidate's patches alone."""

from __future__ import annotations

import numpy as np

from patchrerank.kernels.patch_maps import patch_maps
from patchrerank.kernels.peaks import peak_regions
from patchrerank.types import Floats, Rows

TEMPERATURE = 0.65
"""Of the weights of patches, in standard deviations of a candidate's scores."""

FLAT = 1e-6
"""A standard deviation below this is the rounding error of equal similarities."""


def patch_boxes(
    similarities: Floats, boxes: Floats, counts: Rows, anchors: Floats, *, cut: float
) -> Floats:
    """Return where the patches of each candidate say that the query's object is.

    The mean of two boxes, which err differently: the region around the peak of the candidate's
    map of patch scores (:func:`patchrerank.kernels.patch_maps.patch_maps`), the peak looked for
    in the anchor, and :func:`mean_boxes`. Where there is no peak, the second alone.

    Args:
        similarities: float32 ``(n_1 + n_2 + …,)``, candidate by candidate.
        boxes: float32 ``(n_1 + n_2 + …, 4)``.
        counts: int64 ``(K,)``, patches of each candidate, at least 1.
        anchors: float32 ``(K, 4)``; a NaN row stands for the candidate's best patch,
            of equals the first.
        cut: in (0, 1], how high above the map's median the region is cut.

    Returns:
        float32 ``(K, 4)``; NaN where all patches of a candidate are equally similar, or none
        touches the anchor.
    """
    if not len(counts):
        return np.zeros((0, 4), dtype=np.float32)
    firsts = np.cumsum(counts) - counts
    best = _best(similarities, firsts, counts)
    around = np.where(np.isnan(anchors).any(axis=1, keepdims=True), boxes[best], anchors)
    means = mean_boxes(similarities, boxes, counts, around)
    regions = peak_regions(patch_maps(similarities, boxes, counts), around, cut=cut)
    regions = np.where(np.isnan(regions), means, regions)
    return np.asarray((means + regions) / 2, dtype=np.float32)


def mean_boxes(similarities: Floats, boxes: Floats, counts: Rows, anchors: Floats) -> Floats:
    """Return the weighted mean of the boxes of the patches that touch each anchor.

    A patch weighs exp(s / (``TEMPERATURE`` · σ)); s is its similarity, σ the standard deviation
    over all patches of the candidate. The arguments are those of :func:`patch_boxes`, anchors
    without NaN.
    """
    firsts, slots = np.cumsum(counts) - counts, np.repeat(np.arange(len(counts)), counts)
    scores = similarities.astype(np.float64)
    middles = np.add.reduceat(scores, firsts) / counts
    spreads = np.sqrt(np.add.reduceat((scores - middles[slots]) ** 2, firsts) / counts)
    flat = spreads < FLAT
    units = TEMPERATURE * np.where(flat, 1.0, spreads)
    above = scores - np.maximum.reduceat(scores, firsts)[slots]
    around = anchors[slots]
    touching = (boxes[:, :2] <= around[:, 2:]) & (boxes[:, 2:] >= around[:, :2])
    weights = np.exp(above / units[slots]) * touching.all(axis=1)
    totals = np.where(flat, 0.0, np.add.reduceat(weights, firsts))[:, None]
    sums = np.add.reduceat(weights[:, None] * boxes, firsts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(totals > 0.0, sums / totals, np.nan).astype(np.float32)


def _best(similarities: Floats, firsts: Rows, counts: Rows) -> Rows:
    """Return the row of each candidate's best patch, of equals the first."""
    slots = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-np.arange(len(slots)), similarities, slots))
    return np.asarray(order[firsts + counts - 1])
