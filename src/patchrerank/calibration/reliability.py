"""How well probabilities hold: Brier score, calibration error, and the table behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.records import check_within

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Candidates of similar probability.

    Attributes:
        predicted: their mean probability, in [0, 1].
        observed: the share of them that is relevant, in [0, 1].
        count: how many.
    """

    predicted: float
    observed: float
    count: int


@dataclass(frozen=True)
class Reliability:
    """How well probabilities held.

    Attributes:
        candidates: how many.
        brier: mean squared difference between probability and truth (0 or 1); lower is better.
        base_brier: the same for the best constant, the share of relevant ones.
        calibration_error: expected calibration error: how far predicted and observed lie apart,
            mean over the bins, weighted by their counts; lower is better.
        bins: the reliability table, from low to high probability; the counts are as equal as
            equal probabilities allow.
    """

    candidates: int
    brier: float
    base_brier: float
    calibration_error: float
    bins: tuple[ReliabilityBin, ...]

    def __post_init__(self) -> None:
        check_within(0, 1, brier=self.brier, base_brier=self.base_brier)
        check_within(0, 1, calibration_error=self.calibration_error)


def reliability(
    probabilities: npt.ArrayLike, relevant: npt.ArrayLike, bins: int = BINS
) -> Reliability:
    """Compare probabilities with what came true; see :class:`Reliability`.

    Args:
        probabilities: float ``(n,)`` in [0, 1], n at least 1.
        relevant: bool ``(n,)``.
        bins: how many, at least 1; fewer where probabilities are equal, since equal ones share
            a bin.

    Raises:
        SettingError: a setting is out of range, or lengths differ.
    """
    predicted = np.asarray(probabilities, dtype=np.float64).reshape(-1)
    marks = np.asarray(relevant, dtype=np.bool_).reshape(-1)
    if not len(predicted) == len(marks) > 0 or bins < 1:
        raise SettingError(
            f"{len(predicted)} probabilities, {len(marks)} marks of relevance and {bins} bins; "
            "at least one of each is needed, and a mark for each probability"
        )
    if not ((predicted >= 0) & (predicted <= 1)).all():
        raise SettingError("probabilities must lie in [0, 1]")
    order = np.argsort(predicted, kind="stable")
    ordered, truth = predicted[order], marks[order].astype(np.float64)
    wanted = np.linspace(0, len(ordered), bins + 1)[:-1].astype(np.int64)
    begins = np.unique(np.searchsorted(ordered, ordered[wanted], side="left"))
    counts = np.diff(np.append(begins, len(ordered)))
    means = np.add.reduceat(ordered, begins) / counts
    shares = np.add.reduceat(truth, begins) / counts
    rate = float(truth.mean())
    return Reliability(
        candidates=len(ordered),
        brier=float(np.mean((ordered - truth) ** 2)),
        base_brier=rate * (1 - rate),
        calibration_error=float(np.abs(means - shares) @ counts / len(ordered)),
        bins=tuple(
            ReliabilityBin(float(mean), float(share), int(count))
            for mean, share, count in zip(means, shares, counts, strict=True)
        ),
    )
