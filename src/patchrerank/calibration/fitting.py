"""Fitting a calibration to judged candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from patchrerank.calibration.calibration import Calibration, ListLevel
from patchrerank.calibration.features import level_features, score_features, spreads
from patchrerank.errors import SettingError

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SAME = 1e-9
"""A standard deviation below this is the rounding error of equal scores."""

RIDGE = 1e-2
"""Weight of the penalty ½·w² on each standardised slope, beside the summed log loss."""

FEWEST = 20
"""Lists with a level that it takes to learn what levels mean."""

RISING: tuple[float | None, float | None] = (0.0, None)
FREE: tuple[float | None, float | None] = (None, None)


def fit_calibration(
    scores: npt.ArrayLike, relevant: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> Calibration:
    """Fit a calibration, without a level, to rescored candidates of many queries.

    Least log loss, with Platt's targets in place of 0 and 1, (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2)
    (Platt 1999), so that scores which separate the classes give a finite slope, and a faint
    ridge, since ln u and −ln(1 − u) are nearly proportional where scores lie close together.

    Args:
        scores: float ``(n,)`` fused scores, finite.
        relevant: bool ``(n,)``.
        weights: float ``(n,)``, at least 0, with mean 1; None: all weigh 1.

    Raises:
        SettingError: scores that are not finite, another number of marks, or only one class.
    """
    values = np.asarray(scores, dtype=np.float64).reshape(-1)
    marks = np.asarray(relevant, dtype=np.bool_).reshape(-1)
    _check(values, marks)
    mass = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    (a, b), c = _fitted(score_features(values, low, high), marks, mass, [RISING] * 2)
    return Calibration(a, b, c, low, high, base_rate=float(np.average(marks, weights=mass)))


def fit_level(
    calibration: Calibration,
    scores: Doubles,
    relevant: Bools,
    valid: Bools,
    weights: Doubles,
    ranks: tuple[int, int, int],
) -> Calibration:
    """Return a calibration with what lists add to a score, fitted like the rest of it.

    Args:
        calibration: of the same candidates.
        scores: float64 ``(Q, K)``.
        relevant: bool ``(Q, K)``.
        valid: bool ``(Q, K)``; others do not count at all.
        weights: float64 ``(Q,)`` of each list.
        ranks: from 1: the last one of usual answers, the first and the last of a level.

    Returns:
        The same one, without a level, where fewer than ``FEWEST`` lists reach that far, or their
        candidates are of one kind.
    """
    found = spreads(scores, valid, ranks)
    used = found > SAME
    counts = valid[used]
    marks = relevant[used][counts]
    if used.sum() < FEWEST or not marks.any() or marks.all():
        return calibration
    least = float(found[used].min())
    around, _ = level_features(scores[used], counts, ranks, least)
    beta = score_features(scores[used], calibration.low, calibration.high)
    features = np.concatenate([beta, around])[:, counts]
    mass = np.broadcast_to(weights[used, None], counts.shape)[counts]
    bounds = [RISING] * 5 + [FREE] * 2
    (a, b, height, rank, among, mean, spread), c = _fitted(features, marks, mass, bounds)
    level = ListLevel(*ranks, a, b, c, height, rank, among, mean, spread, least)
    return replace(calibration, level=level)


def _fitted(
    features: Doubles,
    relevant: Bools,
    weights: Doubles,
    bounds: Sequence[tuple[float | None, float | None]],
) -> tuple[list[float], float]:
    """Return the slope of each feature ``(f, n)`` and the offset of the least log loss."""
    centre, spread = features.mean(axis=1), features.std(axis=1)
    spread[spread < SAME] = np.inf
    standardised = (features - centre[:, None]) / spread[:, None]
    found = _least_loss(standardised, _targets(relevant), weights, bounds)
    slopes = found[:-1] / spread
    slopes = np.array([slope if low is None else max(slope, low) for slope, (low, _) in
                       zip(slopes.tolist(), bounds, strict=True)])  # fmt: skip
    return slopes.tolist(), float(found[-1] - slopes @ centre)


def _targets(relevant: Bools) -> Doubles:
    positives = int(relevant.sum())
    negatives = len(relevant) - positives
    return np.where(relevant, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def _least_loss(
    features: Doubles,
    targets: Doubles,
    weights: Doubles,
    bounds: Sequence[tuple[float | None, float | None]],
) -> Doubles:
    """Return slopes within bounds, and the offset, of the least penalised mean log loss."""
    from scipy.optimize import minimize

    count = len(targets)
    columns = np.vstack([features, np.ones(count)])
    penalty = np.append(np.full(len(features), RIDGE), 0.0)

    def loss(slopes: Doubles) -> tuple[float, Doubles]:
        logits = slopes @ columns
        losses = (np.logaddexp(0, logits) - targets * logits) @ weights
        gradient = columns @ (weights * (expit(logits) - targets)) + penalty * slopes
        return float(losses + 0.5 * penalty @ slopes**2) / count, gradient / count

    rate = float(np.average(targets, weights=weights))
    rising = [1.0 if low is not None else 0.0 for low, _ in bounds]
    start = np.array([*rising, np.log(rate) - np.log1p(-rate)])
    options = {"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-10}
    limits = [*bounds, FREE]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    return np.asarray(found.x, dtype=np.float64)


def _check(scores: Doubles, relevant: Bools) -> None:
    if len(scores) != len(relevant):
        raise SettingError(f"{len(scores)} scores but {len(relevant)} marks of relevance")
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise SettingError(
            f"score {bad[0]} is {scores[bad[0]]}; leave candidates out that were not rescored"
        )
    positives = int(relevant.sum())
    if positives in (0, len(relevant)):
        kind = "irrelevant" if positives else "relevant"
        raise SettingError(
            f"none of the {len(relevant)} candidates is {kind}; a calibration needs both kinds"
        )
