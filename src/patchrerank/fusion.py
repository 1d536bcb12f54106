"""Fusion of global and local similarity on the head of a shortlist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from patchrerank.errors import SettingError, ShortlistError
from patchrerank.types import EMPTY, Floats, LocalScores, Ranking, Shortlist


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
        if not 0.0 <= self.lam <= 1.0:
            raise SettingError(f"lam must lie in [0, 1], got {self.lam}")
        if not 0.0 <= self.gamma < float("inf"):
            raise SettingError(f"gamma must be finite and at least 0, got {self.gamma}")
        if self.shortlist_size is not None and self.shortlist_size < 0:
            raise SettingError(
                f"shortlist_size must be at least 0 or None (all), got {self.shortlist_size}"
            )

    def head(self, shortlist: Shortlist) -> Shortlist:
        """Return the part of ``shortlist`` that this fusion rescores."""
        size = self.shortlist_size
        return Shortlist(shortlist.rows[:, :size], shortlist.scores[:, :size])

    def scores(self, global_scores: Floats, local_scores: Floats) -> Floats:
        """Return the fused scores, float32, for two arrays of one shape."""
        return fuse(global_scores, local_scores, self.lam, self.gamma)

    def apply(self, shortlist: Shortlist, local: LocalScores) -> Ranking:
        """Fuse and re-sort.

        Args:
            shortlist: ``(Q, K)`` candidates, best first.
            local: scores ``(Q, k)`` of the first k = min(K, shortlist_size) candidates; more
                columns are cut off, so one set of scores serves every shortlist size.

        Raises:
            ShortlistError: ``local`` covers fewer candidates than are to be rescored.
        """
        queries, width = shortlist.rows.shape
        size = width if self.shortlist_size is None else min(self.shortlist_size, width)
        if local.scores.shape[0] != queries or local.scores.shape[1] < size:
            raise ShortlistError(
                f"local scores have the shape {local.scores.shape}, but {size} candidates of "
                f"{queries} queries are to be rescored"
            )
        head, found = shortlist.scores[:, :size], local.scores[:, :size]
        exact = fuse_exactly(head, found, self.lam, self.gamma)
        fused = shortlist.scores.copy()
        fused[:, :size] = exact
        fused[shortlist.rows == EMPTY] = -np.inf
        by = found if self.lam == 0 and self.gamma > 0 else exact
        by = np.where(shortlist.rows[:, :size] == EMPTY, -np.inf, by)
        order = np.tile(np.arange(width), (queries, 1))
        order[:, :size] = np.argsort(-by, axis=1, kind="stable")
        return _reorder(shortlist, fused, _widen(local, width, size), order)


def fuse(global_scores: Floats, local_scores: Floats, lam: float, gamma: float) -> Floats:
    """Return λ·g + (1−λ)·σ(γ·l) as float32, computed in float64; see :class:`Fusion`."""
    return fuse_exactly(global_scores, local_scores, lam, gamma).astype(np.float32)


def fuse_exactly(
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


def _widen(local: LocalScores, width: int, size: int) -> LocalScores:
    """Pad local scores and boxes with NaN behind the cut, out to the shortlist's width."""
    queries = local.scores.shape[0]
    scores = np.full((queries, width), np.nan, dtype=np.float32)
    scores[:, :size] = local.scores[:, :size]
    boxes = np.full((queries, width, 4), np.nan, dtype=np.float32)
    if local.boxes is not None:
        boxes[:, :size] = local.boxes[:, :size]
    return LocalScores(scores, boxes)


def _reorder(
    shortlist: Shortlist, fused: Floats, local: LocalScores, order: npt.NDArray[np.int64]
) -> Ranking:
    boxes = local.boxes if local.boxes is not None else np.empty((*order.shape, 4), np.float32)
    return Ranking(
        rows=np.take_along_axis(shortlist.rows, order, axis=1),
        scores=np.take_along_axis(fused, order, axis=1),
        global_scores=np.take_along_axis(shortlist.scores, order, axis=1),
        local_scores=np.take_along_axis(local.scores, order, axis=1),
        boxes=np.take_along_axis(boxes, order[..., None], axis=1),
    )
