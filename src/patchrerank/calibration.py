"""From a fused score to the probability that the hit shows the query's object."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from patchrerank.errors import SettingError
from patchrerank.records import check_within, from_json

Doubles = npt.NDArray[np.float64]

MARGIN = 1e-7
"""Scores nearer than this to an end of their range count as this near: float32 knows no more."""
SAME = 1e-9
"""A standard deviation below this is the rounding error of equal scores."""
RIDGE = 1e-2
"""Weight of the penalty ½·w² on each standardised slope, beside the summed log loss."""


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
    """How well probabilities held on candidates of queries that they were not fitted on.

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


@dataclass(frozen=True)
class NothingFound:
    """How well the best hit's probability tells lists with a relevant candidate from others.

    Each held-out query is asked twice: as it is, and with all relevant candidates removed.

    Attributes:
        auc: the probability that a list with a relevant candidate has the better best hit.
        accuracy: mean of the share of lists with a relevant candidate that are answered and of
            the share of lists without one that are answered by "nothing found"; 0.5 is chance.
        lists_with: how many lists with a relevant candidate.
        lists_without: how many without.
    """

    auc: float
    accuracy: float
    lists_with: int
    lists_without: int

    def __post_init__(self) -> None:
        check_within(0, 1, auc=self.auc, accuracy=self.accuracy)


@dataclass(frozen=True)
class CalibrationCheck:
    """What a calibration was worth on held-out queries; figures in [0, 1].

    Attributes:
        all: over all rescored candidates, nearly all of which are irrelevant.
        first: over each query's first candidates alone, the ones somebody looks at.
        nothing: of "nothing found"; None where all lists were of one kind.
        folds: into how many the queries were split; an object's queries stay together.
        seed: of the split.
    """

    all: Reliability
    first: Reliability
    nothing: NothingFound | None
    folds: int
    seed: int


@dataclass(frozen=True)
class Calibration:
    """p = σ(a·ln u − b·ln(1 − u) + c), u = the fused score's place between ``low`` and ``high``.

    Beta calibration (Kull et al., AISTATS 2017). A fused score is σ(γ·s_local) in good part; two
    slopes undo that sigmoid (a = b undoes it exactly), so the shape fits at every λ and γ, where
    Platt scaling of the score itself fails as soon as γ is large. With a few hundred relevant
    candidates, three numbers are also what can be fitted: isotonic regression, which has no
    fixed number of them, did worse on held-out queries.

    The probability never falls while the score rises. It holds for the fusion it was fitted
    behind, for candidates that this fusion rescored, and for shortlists like the ones it was
    fitted on, with ``base_rate`` of their candidates relevant.

    Attributes:
        a: slope at low scores, at least 0.
        b: slope at high scores, at least 0.
        c: offset.
        low: the score that is mapped to 0.
        high: the score that is mapped to 1; scores outside count as the nearer end.
        base_rate: share of relevant ones among the candidates it was fitted on.
        nothing_below: a list whose best probability lies below this holds, more likely than
            not, nothing relevant (where lists with and without are equally frequent).
        check: figures on held-out queries, if they were computed.
    """

    a: float
    b: float
    c: float
    low: float = 0.0
    high: float = 1.0
    base_rate: float = 0.5
    nothing_below: float = 0.0
    check: CalibrationCheck | None = None

    def __post_init__(self) -> None:
        check_within(0, float("inf"), a=self.a, b=self.b)
        check_within(0, 1, base_rate=self.base_rate, nothing_below=self.nothing_below)
        if not self.low < self.high:
            raise SettingError(f"low must lie below high, got {self.low} and {self.high}")

    def probabilities(self, scores: npt.ArrayLike) -> Doubles:
        """Return the probability of each fused score, float64 in [0, 1]; NaN stays NaN."""
        rising, falling = _features(np.asarray(scores, dtype=np.float64), self.low, self.high)
        return np.asarray(expit(self.a * rising + self.b * falling + self.c), dtype=np.float64)

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able record."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: object, where: str = "calibration") -> Calibration:
        """Make a calibration of a record.

        Raises:
            SettingError: a missing or unknown key, a wrong type, or a value out of range.
        """
        return from_json(cls, content, where)


def fit_calibration(scores: npt.ArrayLike, relevant: npt.ArrayLike) -> Calibration:
    """Fit a calibration to rescored candidates of many queries.

    Least log loss, with Platt's targets in place of 0 and 1, (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2)
    (Platt 1999), so that scores which separate the classes give a finite slope, and a faint
    ridge, since ln u and −ln(1 − u) are nearly proportional where scores lie close together.

    Args:
        scores: float ``(n,)`` fused scores, finite.
        relevant: bool ``(n,)``.

    Raises:
        SettingError: scores that are not finite, another number of marks, or only one class.
    """
    values = np.asarray(scores, dtype=np.float64).reshape(-1)
    marks = np.asarray(relevant, dtype=np.bool_).reshape(-1)
    _check(values, marks)
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    features = np.stack(_features(values, low, high))
    centre = features.mean(axis=1)
    spread = features.std(axis=1)
    spread[spread < SAME] = np.inf
    weights = _least_loss((features - centre[:, None]) / spread[:, None], _targets(marks))
    a, b = np.maximum(weights[:2] / spread, 0.0)
    return Calibration(
        a=float(a),
        b=float(b),
        c=float(weights[2] - a * centre[0] - b * centre[1]),
        low=low,
        high=high,
        base_rate=float(marks.mean()),
    )


def _features(scores: Doubles, low: float, high: float) -> tuple[Doubles, Doubles]:
    """Return ln u and −ln(1 − u)."""
    place = np.clip((scores - low) / (high - low), MARGIN, 1 - MARGIN)
    return np.log(place), -np.log1p(-place)


def _targets(relevant: npt.NDArray[np.bool_]) -> Doubles:
    positives = int(relevant.sum())
    negatives = len(relevant) - positives
    return np.where(relevant, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def _least_loss(features: Doubles, targets: Doubles) -> Doubles:
    """Return two slopes, at least 0, and the offset of the least penalised mean log loss."""
    from scipy.optimize import minimize

    count = len(targets)
    columns = np.vstack([features, np.ones(count)])
    penalty = np.array([RIDGE, RIDGE, 0.0])

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        logits = weights @ columns
        value = np.logaddexp(0, logits).sum() - targets @ logits + 0.5 * penalty @ weights**2
        slope = columns @ (expit(logits) - targets) + penalty * weights
        return float(value) / count, slope / count

    rate = float(targets.mean())
    start = np.array([1.0, 1.0, np.log(rate) - np.log1p(-rate)])
    bounds = [(0.0, None), (0.0, None), (None, None)]
    options = {"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(found.x, dtype=np.float64)


def _check(scores: Doubles, relevant: npt.NDArray[np.bool_]) -> None:
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
