"""What the numbers of somebody's search mean: which way is better, and what cosine they stand for.

A store's number may be a similarity or a distance whatever its name says (Milvus calls both
``distance``). λ joins it with a local score in [0, 1], so it should be a cosine of unit vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError, ShortlistError, near_matches, shown

Doubles: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Metric = Literal["cosine-distance", "l2-squared", "l2", "inner-product", "maxsim-sum"]

METRICS: tuple[str, ...] = get_args(Metric)
DISTANCES = ("cosine-distance", "l2-squared", "l2")
"""Metrics of which the smaller is better; best first, they ascend."""

A_FEW = 4
"""A list of more different scores that only rise is a list of distances, not a shuffled one."""

ROUNDING = 0.01
"""By how much stores' numbers pass their own limits."""


@dataclass(frozen=True)
class ScoreReading:
    """How the scores of a search result are to be read.

    Attributes:
        metric: ``cosine-distance`` (1 − cos), ``l2`` and ``l2-squared`` (distances of unit
            vectors: cos = 1 − d²/2), ``inner-product`` (of unit vectors: the cosine itself),
            ``maxsim-sum`` (the sum of each query vector's best cosine, which their number
            divides); None: they are similarities, taken as they are.
        higher_is_better: which way is better; None: as the metric says, without one higher.
            False without a metric takes their negatives: the order is right, the scale unknown.
        sort: accept scores that are out of order and sort them, equal ones as they came.
        n_query_vectors: how many vectors each query had, for ``maxsim-sum``: one number, or one
            a query.

    Raises:
        SettingError: an unknown metric, one that contradicts ``higher_is_better``, or
            ``maxsim-sum`` without the number of query vectors.
    """

    metric: Metric | None = None
    higher_is_better: bool | None = None
    sort: bool = False
    n_query_vectors: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.metric is not None and self.metric not in METRICS:
            near = near_matches(str(self.metric), METRICS)
            raise SettingError(
                f"metric={shown(self.metric)} is unknown{near}; use one of {', '.join(METRICS)}"
            )
        if self.metric is not None and self.higher_is_better is (self.metric in DISTANCES):
            better = "lower" if self.metric in DISTANCES else "higher"
            raise SettingError(
                f"metric='{self.metric}' says that {better} is better, "
                f"higher_is_better={self.higher_is_better} says the opposite; leave one out"
            )
        if self.metric == "maxsim-sum" and self.n_query_vectors is None:
            raise SettingError(
                "metric='maxsim-sum' is a sum over the vectors of the query; say how many there "
                "were with n_query_vectors=…"
            )

    @property
    def lower_is_better(self) -> bool:
        """Whether the numbers are distances."""
        return self.metric in DISTANCES or self.higher_is_better is False

    @property
    def of_similarities(self) -> bool:
        """Whether the numbers are taken as they are."""
        return self.metric is None and not self.lower_is_better

    def similarities(self, given: Doubles, valid: Flags) -> Doubles:
        """Return similarities of which higher is better, in the order given.

        Args:
            given: float64 ``(Q, K)``, the numbers of the search.
            valid: bool ``(Q, K)``, False in empty slots, which stand at the end.

        Returns:
            float64 ``(Q, K)``, ``-inf`` in empty slots.

        Raises:
            ShortlistError: negative distances; an order that is not best first and is not to be
                sorted, or that is worst first throughout.
            SettingError: another number of ``n_query_vectors`` than of queries, or one below 1.
        """
        numbers = given if valid.all() else np.where(valid, given, 0.0)
        if self.metric is not None:
            self._check_signs(numbers)
        found = self._converted(numbers)
        rises = found[:, 1:] - found[:, :-1]
        rises[~valid[:, 1:]] = 0.0
        if self.sort:
            self._check_direction(rises, given, valid)
        elif rises.size and rises.max() > 0:
            self._refuse_order(rises, given)
        found[~valid] = -np.inf
        return found

    def _converted(self, numbers: Doubles) -> Doubles:
        if self.metric == "cosine-distance":
            return 1.0 - numbers
        if self.metric == "l2":
            return 1.0 - numbers**2 / 2
        if self.metric == "l2-squared":
            return 1.0 - numbers / 2
        if self.metric == "maxsim-sum":
            return numbers / self._counts(len(numbers))
        return -numbers if self.lower_is_better else numbers.copy()

    def _counts(self, queries: int) -> Doubles:
        counts = np.asarray(self.n_query_vectors)
        numbers = counts.dtype.kind in "iuf" and counts.size in (1, queries)
        if not numbers or (counts < 1).any() or (counts % 1 != 0).any():
            raise SettingError(
                f"n_query_vectors={shown(self.n_query_vectors)}: give a whole number of at least "
                f"1, or one for each of the {queries} queries"
            )
        return counts.astype(np.float64).reshape(-1, 1)

    def _check_signs(self, numbers: Doubles) -> None:
        bad = np.argwhere(numbers < -ROUNDING)
        if self.metric in DISTANCES and bad.size:
            query, slot = (int(value) for value in bad[0])
            raise ShortlistError(
                f"query {query}: {numbers[query, slot]:g} at position {slot} is negative, which no "
                f"{self.metric} is; if higher is better, use metric='inner-product'"
            )

    def _refuse_order(self, rises: Doubles, given: Doubles) -> NoReturn:
        query, slot = (int(value) for value in np.argwhere(rises > 0)[0])
        before, after = given[query, slot], given[query, slot + 1]
        order = (
            f"lower than {before:g} before it; a shortlist is best first and lower is better"
            if self.lower_is_better
            else f"higher than {before:g} before it; a shortlist is best first and higher is better"
        )
        raise ShortlistError(
            f"query {query}: score {after:g} at position {slot + 1} is {order}. If "
            f"{self._other()}; if they are merely unsorted, say sort=True"
        )

    def _check_direction(self, rises: Doubles, given: Doubles, valid: Flags) -> None:
        """Refuse lists that sorting would turn upside down."""
        upside_down = (rises >= 0).all(axis=1) & ((rises > 0).sum(axis=1) >= A_FEW)
        if self.higher_is_better is not None or not upside_down.any():
            return
        query = int(np.argmax(upside_down))
        count = int(valid[query].sum())
        move = "fall" if self.lower_is_better else "rise"
        better = not self.lower_is_better
        raise ShortlistError(
            f"query {query}: its {count} scores only {move}, from {given[query, 0]:g} "
            f"to {given[query, count - 1]:g}: sort=True would turn the list upside down. If "
            f"{self._other()}; if the worst stands first, say higher_is_better={better}"
        )

    def _other(self) -> str:
        if self.lower_is_better:
            return "these are similarities, leave out what says that they are distances"
        return (
            "these are distances, say which with metric='cosine-distance' (or another of "
            f"{', '.join(METRICS)})"
        )
