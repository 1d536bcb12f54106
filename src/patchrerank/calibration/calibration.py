"""From a fused score, and the list it stands in, to the probability that the hit is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from patchrerank.calibration.features import level_features, score_features
from patchrerank.calibration.reliability import Reliability
from patchrerank.errors import SettingError
from patchrerank.records import check_within, from_json

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NothingFound:
    """How well the best hit's score tells lists with a relevant candidate from others.

    Each held-out query is asked twice: as it is, and with all relevant candidates removed.

    Attributes:
        auc: the probability that a list with a relevant candidate has the better best hit.
        kept: the share of lists with a relevant candidate that are answered.
        refused: the share of lists without one that are answered by "nothing found".
        lists_with: how many lists with a relevant candidate.
        lists_without: how many without.
    """

    auc: float
    kept: float
    refused: float
    lists_with: int
    lists_without: int

    def __post_init__(self) -> None:
        check_within(0, 1, auc=self.auc, kept=self.kept, refused=self.refused)


@dataclass(frozen=True)
class CalibrationCheck:
    """What a calibration was worth on held-out queries; figures in [0, 1].

    Attributes:
        all: over all rescored candidates, nearly all of which are irrelevant.
        first_five: over each query's first five alone, the ones somebody looks at.
        first_ten: over each query's first ten.
        nothing: of "nothing found"; None where all lists were of one kind.
        folds: into how many the queries were split; an object's queries stay together.
        seed: of the split.
    """

    all: Reliability
    first_five: Reliability
    first_ten: Reliability
    nothing: NothingFound | None
    folds: int
    seed: int


@dataclass(frozen=True)
class ListLevel:
    """What the list around a candidate adds: p = σ(a·ln u − b·ln(1−u) + c + Σ weight·feature).

    The candidates of ranks ``first`` to ``last`` stand for what the query finds where there is
    nothing of its own: their mean and standard deviation are the list's level. The same score is
    worth much where all others lie far below, and little where they crowd below it.

    Attributes:
        answers: how many answers lists usually had: the candidates at these ranks, from 1.
        first: the first rank of the level; behind thrice as many candidates as that.
        last: the last rank of it.
        a: slope at low scores, at least 0.
        b: slope at high scores, at least 0.
        c: offset.
        height: weight of the score's height above the level, in its standard deviations; at
            least 0.
        rank: weight of −ln(rank), at least 0.
        among: weight of standing among the first ``answers``, at least 0: the next best score
            is worth less where a list has given all that lists usually had.
        mean: weight of the level's mean.
        spread: weight of the logarithm of its standard deviation.
        least_spread: smaller standard deviations count as this one, the smallest that it was
            fitted to.
    """

    answers: int
    first: int
    last: int
    a: float
    b: float
    c: float
    height: float
    rank: float
    among: float
    mean: float
    spread: float
    least_spread: float

    def __post_init__(self) -> None:
        rising = {name: getattr(self, name) for name in ("a", "b", "height", "rank", "among")}
        check_within(0, float("inf"), **rising)
        if not (1 <= self.answers <= self.first < self.last and self.least_spread > 0):
            raise SettingError(
                f"a level lies between ranks 1 ≤ answers ≤ first < last and has a least_spread "
                f"above 0, got {self.answers}, {self.first}, {self.last} and {self.least_spread}"
            )

    @property
    def ranks(self) -> tuple[int, int, int]:
        """The last rank of usual answers, the first and the last of the level, from 1."""
        return self.answers, self.first, self.last

    def logits(self, features: Doubles) -> Doubles:
        """Return ln(p / (1 − p)), ``(…, K)``.

        Args:
            features: float64 ``(7, …, K)``, those of scores, and behind them those of the level.
        """
        weights = (self.a, self.b, self.height, self.rank, self.among, self.mean, self.spread)
        terms = (weight * feature for weight, feature in zip(weights, features, strict=True))
        return np.asarray(sum(terms, start=np.float64(self.c)))  # a list's bits are its own


@dataclass(frozen=True)
class Calibration:
    """p = σ(a·ln u − b·ln(1 − u) + c), u = the fused score's place between ``low`` and ``high``.

    Beta calibration (Kull et al., AISTATS 2017). A fused score is σ(γ·s_local) in good part; two
    slopes undo that sigmoid (a = b undoes it exactly), so the shape fits at every λ and γ, where
    Platt scaling of the score itself fails as soon as γ is large. With a few hundred relevant
    candidates, few numbers are also what can be fitted: isotonic regression, which has no fixed
    number of them, did worse on held-out queries.

    Where ``level`` is fitted, it takes the place of a, b and c in every list that has at least ten
    candidates at the level's ranks; shorter lists have a, b and c, which know the score alone
    and are less sure.

    Within a list the probability never falls while the score rises. It holds for the fusion it
    was fitted behind, for candidates that this fusion rescored, and for shortlists like the ones
    it was fitted on, of which a share ``absent`` had no relevant candidate.

    Attributes:
        a: slope at low scores, at least 0.
        b: slope at high scores, at least 0.
        c: offset.
        low: the score that is mapped to 0.
        high: the score that is mapped to 1; scores outside count as the nearer end.
        base_rate: share of relevant ones among the candidates it was fitted on.
        absent: weight of lists whose relevant candidates were removed, in [0, 1).
        nothing_below: a list whose best fused score lies below this holds, probably, nothing
            relevant; None where that could not be learned.
        level: what the list adds; None where lists were too few or too short.
        check: figures on held-out queries, if they were computed.
    """

    a: float
    b: float
    c: float
    low: float = 0.0
    high: float = 1.0
    base_rate: float = 0.5
    absent: float = 0.0
    nothing_below: float | None = None
    level: ListLevel | None = None
    check: CalibrationCheck | None = None

    def __post_init__(self) -> None:
        check_within(0, float("inf"), a=self.a, b=self.b)
        check_within(0, 1, base_rate=self.base_rate, absent=self.absent)
        if not self.low < self.high:
            raise SettingError(f"low must lie below high, got {self.low} and {self.high}")

    def probabilities(self, scores: npt.ArrayLike, valid: npt.ArrayLike | None = None) -> Doubles:
        """Return the probability of each candidate, float64 in [0, 1]; NaN stays NaN.

        Args:
            scores: float ``(…, K)``, fused scores, a list a row, in any order; or one score.
            valid: bool, the same shape: what counts as a candidate of its list; None: whatever
                is not NaN.
        """
        values = np.asarray(scores, dtype=np.float64)
        counts = ~np.isnan(values) if valid is None else np.asarray(valid, dtype=np.bool_)
        beta = score_features(values, self.low, self.high)
        logits = self.a * beta[0] + self.b * beta[1] + self.c
        if self.level is not None and values.ndim:
            level = self.level
            around, known = level_features(values, counts, level.ranks, level.least_spread)
            logits = np.where(known, level.logits(np.concatenate([beta, around])), logits)
        return np.asarray(expit(logits), dtype=np.float64)

    def finds_nothing(
        self, scores: npt.ArrayLike, probabilities: npt.ArrayLike | Sequence[float | None]
    ) -> bool:
        """Tell whether hits hold, probably, nothing relevant: "nothing found".

        So it is where there are none, or the best score of those that have a probability lies
        below :attr:`nothing_below`.

        Args:
            scores: float ``(n,)``, fused scores of one query's hits.
            probabilities: float ``(n,)``; NaN or None where there is none.
        """
        values = np.asarray(scores, dtype=np.float64)
        known = values[~np.isnan(np.array(probabilities, dtype=np.float64))]
        limit = self.nothing_below
        return not len(values) or bool(limit is not None and len(known) and known.max() < limit)

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
