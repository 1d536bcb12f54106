"""LocScore: average precision that pays each positive by how well it was located.

Source: Patch-wise Retrieval (WACV 2026). For a query with N positives, precision P(r) at rank r
and the overlap IoU(r) of the predicted box with the true one:

- LocScore = (1/N) Σ P(r)·rel(r)·IoU(r)
- LocScore(δ) = (1/N) Σ P(r)·rel(r)·[IoU(r) ≥ δ]
- mLocScore = mean of LocScore(δ) over δ in {0.3, 0.4, 0.5}

P(r) counts relevant images, located or not. Published is the whole list by rectangles (``full``);
another convention brings its own interpolation, cut and normaliser.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import iou
from patchrerank.errors import RegionError, SettingError
from patchrerank.metrics.average_precision import average_precisions
from patchrerank.metrics.convention import FULL, APConvention
from patchrerank.metrics.lists import Doubles, aligned

MLOCSCORE_DELTAS = (0.3, 0.4, 0.5)
"""The thresholds that mLocScore averages over."""


def locscores(
    relevant: npt.ArrayLike,
    overlap: npt.ArrayLike,
    n_positives: npt.ArrayLike,
    convention: APConvention = FULL,
    *,
    delta: float | None = None,
    scores: npt.ArrayLike | None = None,
    junk: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
) -> Doubles:
    """Return LocScore, or LocScore(δ), of each list: float64 ``(Q,)`` in [0, 1], at most its AP.

    Args:
        relevant: bool ``(Q, R)``, best first.
        overlap: float ``(Q, R)`` in [0, 1], IoU of predicted and true box (see :func:`best_iou`);
            NaN (nothing predicted) counts as 0; ignored where not relevant.
        n_positives: int ``(Q,)``, positives in the whole gallery; a query with 0 gets NaN.
        convention: how precision is summed; published is ``full``.
        delta: None for LocScore; a threshold in (0, 1] for LocScore(δ), compared in the
            precision of ``overlap``.
        scores, junk, valid: as for :func:`patchrerank.metrics.average_precisions`.

    Raises:
        SettingError: ``delta`` lies outside (0, 1], an overlap outside [0, 1], or as for
            :func:`patchrerank.metrics.average_precisions`.
        ShortlistError: an array has the wrong shape.
    """
    weights = _weights(overlap, np.asarray(relevant).shape, delta)
    return average_precisions(
        relevant, n_positives, convention, scores=scores, junk=junk, valid=valid, weights=weights
    )


def mlocscores(
    relevant: npt.ArrayLike,
    overlap: npt.ArrayLike,
    n_positives: npt.ArrayLike,
    convention: APConvention = FULL,
    *,
    scores: npt.ArrayLike | None = None,
    junk: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
) -> Doubles:
    """Return mLocScore of each list, float64 ``(Q,)``: the mean of LocScore(δ) at 0.3, 0.4, 0.5.

    The arguments and errors are those of :func:`locscores`.
    """
    shape = np.asarray(relevant).shape
    steps = [_weights(overlap, shape, delta) for delta in MLOCSCORE_DELTAS]
    return average_precisions(
        relevant,
        n_positives,
        convention,
        scores=scores,
        junk=junk,
        valid=valid,
        weights=np.mean(steps, axis=0),
    )


def best_iou(
    predicted: npt.ArrayLike, truths: Sequence[npt.ArrayLike | None]
) -> npt.NDArray[np.float32]:
    """Return the best overlap of each predicted box with the true boxes of its image.

    Args:
        predicted: ``(N, 4)`` boxes ``x0, y0, x1, y1`` in [0, 1] of the image; NaN for no box.
        truths: for each of them the true boxes ``(T, 4)`` of that image; None or no rows where
            none is known.

    Returns:
        float32 ``(N,)`` in [0, 1], 0 where a side has no box.

    Raises:
        RegionError: the lengths differ or something is not a set of boxes.
    """
    boxes = np.asarray(predicted, dtype=np.float32).reshape(-1, 4)
    if len(boxes) != len(truths):
        raise RegionError(f"{len(boxes)} predicted boxes, but true boxes of {len(truths)} images")
    known = [_truth(number, truth) for number, truth in enumerate(truths)]
    width = max((len(truth) for truth in known), default=0)
    padded = np.full((len(known), max(width, 1), 4), np.nan, dtype=np.float32)
    for number, truth in enumerate(known):
        padded[number, : len(truth)] = truth
    return np.asarray(iou(boxes[:, None], padded).max(axis=1), dtype=np.float32)


def _truth(number: int, truth: npt.ArrayLike | None) -> npt.NDArray[np.float32]:
    boxes = np.asarray([] if truth is None else truth, dtype=np.float32)
    if boxes.size % 4:
        raise RegionError(f"image {number}: true boxes need the shape (T, 4), got {boxes.shape}")
    return boxes.reshape(-1, 4)


def _weights(
    overlap: npt.ArrayLike, shape: tuple[int, ...], delta: float | None
) -> npt.NDArray[np.floating]:
    """Return what each place pays: its overlap, or 1 from ``delta`` on."""
    if delta is not None and not 0.0 < delta <= 1.0:
        raise SettingError(f"delta must lie in (0, 1], got {delta}")
    given = aligned("overlap", overlap, shape)
    values = np.where(np.isnan(given), given.dtype.type(0), given)
    if values.size and not (values.min() >= -1e-6 and values.max() <= 1 + 1e-6):
        raise SettingError(
            f"overlaps must lie in [0, 1], got values from {values.min()} to {values.max()}"
        )
    if delta is None:
        return np.asarray(values.clip(0.0, 1.0))
    return np.asarray(values >= float(delta), dtype=np.float64)
