"""What a probability is computed from: a fused score, and its place in its list."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MARGIN = 1e-7
"""Scores nearer than this to an end of their range count as this near: float32 knows no more."""

LEAST = 10
"""Candidates at the level's ranks that it takes to know a list's level."""


def score_features(scores: Doubles, low: float, high: float) -> Doubles:
    """Return ln u and −ln(1 − u), float64 ``(2, …)``, u the place between ``low`` and ``high``."""
    place = np.clip((scores - low) / (high - low), MARGIN, 1 - MARGIN)
    return np.stack([np.log(place), -np.log1p(-place)])


def level_features(
    scores: Doubles, valid: Bools, ranks: tuple[int, int, int], least_spread: float
) -> tuple[Doubles, Bools]:
    """Return where each candidate stands in its list.

    Args:
        scores: float64 ``(…, K)``, a list a row, in any order; equal ones rank as they stand.
        valid: bool ``(…, K)``; others have no rank.
        ranks: from 1: the last one of usual answers, the first and the last of the level.
        least_spread: above 0; smaller standard deviations count as this one.

    Returns:
        float64 ``(5, …, K)``: the height above the level's mean in standard deviations, −ln of
        the rank, whether it is one of usual answers (1 or 0), the mean, and ln of the standard
        deviation; and bool ``(…, 1)``: whether the list has ``LEAST`` candidates at the level's
        ranks. Where it has not, features are finite and mean nothing.
    """
    answers, first, last = ranks
    ordered, own = _ranked(np.where(valid, scores, -np.inf))
    level = ordered[..., first - 1 : last]
    held = np.isfinite(level)
    counts = held.sum(axis=-1, keepdims=True)
    known = counts >= LEAST
    most = np.maximum(counts, 1)
    mean = np.where(held, level, 0.0).sum(axis=-1, keepdims=True) / most
    away = np.where(held, level - mean, 0.0)
    spread = np.maximum(np.sqrt((away**2).sum(axis=-1, keepdims=True) / most), least_spread)
    height = (np.where(valid, scores, mean) - mean) / spread
    whole = np.ones_like(height)
    among = (own <= answers).astype(np.float64)
    return np.stack([height, -np.log(own), among, mean * whole, np.log(spread) * whole]), known


def spreads(scores: Doubles, valid: Bools, ranks: tuple[int, int, int]) -> Doubles:
    """Return the standard deviation of each list's level, float64 ``(Q,)``; NaN where unknown."""
    features, known = level_features(scores, valid, ranks, np.finfo(np.float64).tiny)
    return np.asarray(np.where(known[:, 0], np.exp(features[-1, :, 0]), np.nan))


def _ranked(scores: Doubles) -> tuple[Doubles, Doubles]:
    """Return scores best first, and the rank of each as it stands, from 1."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    ranks = np.empty_like(scores)
    places = np.broadcast_to(np.arange(1.0, scores.shape[-1] + 1), scores.shape)
    np.put_along_axis(ranks, order, places, axis=-1)
    return np.take_along_axis(scores, order, axis=-1), ranks
