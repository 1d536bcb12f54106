"""Fusion of global and local similarity on the head of a shortlist."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from patchrerank.errors import SettingError, ShortlistError, shown
from patchrerank.types import Floats, LocalScores, Ranking

FLOAT = np.dtype(np.float32)


@dataclass(frozen=True)
class Fusion:
    """s = λ·s_global + (1−λ)·σ(γ·s_local) on the first ``shortlist_size`` candidates.

    Source: AMES (ECCV 2024), the ensemble with global similarity; used by Patchify for its
    reranking tables. Those candidates are re-sorted by s, descending; candidates behind them
    keep their place and score. Candidates are sorted by the float64 value, stably: equal scores
    keep the order of the stage before; the scores returned are rounded to float32. At λ = 0 they
    are sorted by the local score itself, so that a saturated sigmoid makes no ties. λ = 1 and
    ``shortlist_size = 0`` both give back the incoming order exactly; γ = 0 makes the local
    score the constant ½. A local score of −inf (no evidence) counts as σ = 0 where γ > 0.

    Attributes:
        lam: λ in [0, 1], the weight of the global score. 0 ranks by the local score alone.
        gamma: γ ≥ 0, the slope inside the sigmoid. It only matters where 0 < λ < 1 (or a later
            stage follows), and its useful range depends on the spread of the local scores.
        shortlist_size: how many candidates are rescored; None means all.
    """

    lam: float = 0.0
    gamma: float = 1.0
    shortlist_size: int | None = None

    def __post_init__(self) -> None:
        self._check_kinds()
        if not 0.0 <= self.lam <= 1.0:
            raise SettingError(f"lam must lie in [0, 1], got {self.lam}")
        if not 0.0 <= self.gamma < float("inf"):
            raise SettingError(f"gamma must be finite and at least 0, got {self.gamma}")
        if self.shortlist_size is not None and self.shortlist_size < 0:
            raise SettingError(
                f"shortlist_size must be at least 0 or None (all), got {self.shortlist_size}"
            )

    def _check_kinds(self) -> None:
        for name, value in (("lam", self.lam), ("gamma", self.gamma)):
            if not isinstance(value, Real):
                raise SettingError(f"{name} must be a number, got {shown(value)}")
        size = self.shortlist_size
        if size is not None and not isinstance(size, Integral):
            raise SettingError(
                f"shortlist_size must be a whole number or None (all), got {shown(size)}"
            )

    @cached_property
    def record(self) -> str:
        """What rankings say of it."""
        return repr(self)

    def stage_text(self, name: str) -> str:
        """Return ``name:K:lam:gamma``, rounded, for people to read."""
        size = "all" if self.shortlist_size is None else self.shortlist_size
        return f"{name}:{size}:{self.lam:g}:{self.gamma:g}"

    def size_of(self, width: int) -> int:
        """Return how many candidates of a list of ``width`` are rescored."""
        return width if self.shortlist_size is None else min(self.shortlist_size, width)

    def apply(self, ranking: Ranking, local: LocalScores) -> Ranking:
        """Fuse the head of a ranking with what a reranker found there, and re-sort it.

        Args:
            ranking: ``(Q, K)`` candidates, best first; their scores are the global ones here.
            local: scores ``(Q, k)`` of the first k = min(K, shortlist_size) candidates; more
                columns are cut off, so one set of scores serves every shortlist size.

        Returns:
            The ranking with the new order, scores and local scores of the head. A candidate
            without a new box keeps the one it had; global scores go along.

        Raises:
            ShortlistError: ``local`` covers fewer candidates than are to be rescored.
        """
        queries, width = ranking.rows.shape
        size = self.size_of(width)
        if local.scores.shape[0] != queries or local.scores.shape[1] < size:
            raise ShortlistError(
                f"local scores have the shape {local.scores.shape}, but {size} candidates of "
                f"{queries} queries are to be rescored"
            )
        exact = fuse(ranking.scores[:, :size], local.scores[:, :size], self.lam, self.gamma)
        boxes = ranking.boxes if local.boxes is None else local.boxes
        found = local.scores, self.lam == 0 and self.gamma > 0, np.ascontiguousarray(boxes, FLOAT)
        after = tuple(np.empty(table.shape, table.dtype) for table in ranking.tables)
        _kernels().resort(ranking.tables, exact, *found, after)
        return ranking.with_tables(after)


DEFAULT_FUSION = Fusion(lam=0.1, gamma=4.0)
"""What all that reranks a search begins with: the patches decide, the search's scores count a
little. Chosen on held-out objects and scenes: ``docs/tuning.md``."""


def fuse(
    global_scores: Floats, local_scores: Floats, lam: float, gamma: float
) -> npt.NDArray[np.float64]:
    """Return λ·g + (1−λ)·σ(γ·l) in float64, by which candidates are ordered."""
    local = np.asarray(local_scores, dtype=np.float64)
    sigmoid = expit(gamma * local) if gamma > 0 else np.full(local.shape, 0.5)
    first = lam * np.asarray(global_scores, dtype=np.float64) if lam > 0 else 0.0
    second = (1.0 - lam) * sigmoid if lam < 1 else 0.0
    return np.asarray(first + second, dtype=np.float64)


def narrowed(limit: float, number: int, size: int | None) -> float:
    """Return how many candidates the stages behind one may rescore.

    Args:
        limit: how many this stage may rescore, at first infinity.
        number: of the stage, for the error.
        size: how many it does rescore; None: all. 0, which does nothing, limits nobody.

    Raises:
        SettingError: more than the limit.
    """
    reach = float("inf") if size is None else size
    if reach > limit:
        raise SettingError(
            f"stage {number} rescores {size or 'all'} candidates, an earlier stage only "
            f"{limit:g}; shortlist sizes must not grow from stage to stage"
        )
    return min(limit, reach or limit)


@cache
def _kernels() -> Any:
    from patchrerank.kernels import resorting

    return resorting
