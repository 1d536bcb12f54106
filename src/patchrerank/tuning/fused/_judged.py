"""Scored and judged lists, checked once, on which any number of fusions are evaluated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError, ShortlistError
from patchrerank.fusion import Fusion
from patchrerank.metrics.average_precision import average_precisions
from patchrerank.metrics.convention import APConvention
from patchrerank.metrics.lists import Bools, Doubles, aligned, ranked_lists
from patchrerank.types import EMPTY, Floats, Rows, Shortlist


@dataclass(frozen=True, eq=False)
class JudgedLists:
    """Lists in the first stage's order, with everything that their value depends on.

    Attributes:
        scores: float32 ``(Q, K)``, first stage, non-increasing.
        local: float32 ``(Q, K)``.
        valid: bool ``(Q, K)``, False in empty slots.
        counted: bool ``(Q, K)``, neither empty nor junk.
        relevant: bool ``(Q, K)``, and counted.
        n_positives: int64 ``(Q,)``.
        convention: how average precision is computed.
        weights: float64 ``(Q, K)`` in [0, 1], what each place pays; None: 1.
        tail_pays: False: candidates behind the head pay nothing.
    """

    scores: Floats
    local: Floats
    valid: Bools
    counted: Bools
    relevant: Bools
    n_positives: Rows
    convention: APConvention
    weights: Doubles | None
    tail_pays: bool

    @classmethod
    def of(
        cls,
        global_scores: npt.ArrayLike,
        local_scores: npt.ArrayLike,
        relevant: npt.ArrayLike,
        ignored: npt.ArrayLike,
        n_positives: npt.ArrayLike,
        convention: APConvention,
        weights: npt.ArrayLike | None = None,
        tail_pays: bool = True,
    ) -> JudgedLists:
        """Check; see :func:`patchrerank.tuning.fused.fused_ap.fused_average_precisions`."""
        scores = _scores(global_scores)
        valid = ~np.isneginf(scores)
        local = np.ascontiguousarray(aligned("local_scores", local_scores, scores.shape))
        junk = np.asarray(ignored, dtype=np.bool_)
        for name, marks in (("relevant", np.asarray(relevant)), ("ignored", junk)):
            if marks.shape != scores.shape:
                raise ShortlistError(
                    f"{name} has the shape {marks.shape}, but global_scores {scores.shape}"
                )
        lists = ranked_lists(relevant, n_positives, junk, valid)
        return cls(
            scores=scores,
            local=local.astype(np.float32, copy=False),
            valid=valid,
            counted=valid & ~junk,
            relevant=lists.relevant,
            n_positives=lists.n_positives,
            convention=convention,
            weights=None if weights is None else _weights(weights, scores.shape, lists.relevant),
            tail_pays=tail_pays or weights is None,
        )

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def tied(self) -> bool:
        """Whether equal scores share a precision, so that scores matter beside the order."""
        return self.convention.ties == "threshold"

    @property
    def normalisers(self) -> Doubles:
        """float64 ``(Q,)``, what the sum of precisions is divided by; never 0."""
        convention, bound = self.convention, self.n_positives
        if convention.normaliser == "min_length":
            bound = np.minimum(bound, self.valid.sum(axis=1))
        if convention.normaliser != "positives" and convention.cutoff is not None:
            bound = np.minimum(bound, convention.cutoff)
        return np.maximum(bound, 1).astype(np.float64)

    def take(self, start: int, stop: int) -> JudgedLists:
        """Return the lists from ``start`` to ``stop``."""
        part = slice(start, stop)
        return JudgedLists(
            scores=self.scores[part],
            local=self.local[part],
            valid=self.valid[part],
            counted=self.counted[part],
            relevant=self.relevant[part],
            n_positives=self.n_positives[part],
            convention=self.convention,
            weights=None if self.weights is None else self.weights[part],
            tail_pays=self.tail_pays,
        )

    def first_stage(self, size: int) -> Doubles:
        """Return the value ``(Q,)`` of the first stage's order; NaN without positives.

        Args:
            size: how long the head is; matters only where the tail pays nothing.
        """
        weights = self.weights
        if weights is not None and not self.tail_pays:
            weights = np.where(np.arange(weights.shape[1]) < size, weights, 0.0)
        return average_precisions(
            self.relevant,
            self.n_positives,
            self.convention,
            scores=self.scores,
            junk=self.valid & ~self.counted,
            valid=self.valid,
            weights=weights,
        )

    def check_scored(self, size: int) -> None:
        """Refuse NaN among the local scores of the first ``size`` candidates."""
        wrong = np.isnan(self.local[:, :size]) & self.valid[:, :size]
        if wrong.any():
            query, place = (int(value) for value in np.argwhere(wrong)[0])
            raise ShortlistError(
                f"query {query}: the local score at position {place} is NaN, but the first {size} "
                "are to be rescored; compute it, or use -inf where there was no evidence"
            )


def check_grid(
    lams: npt.ArrayLike, gammas: npt.ArrayLike, sizes: npt.ArrayLike, width: int
) -> tuple[Doubles, Doubles, Rows]:
    """Return λ ``(L,)``, γ ``(G,)`` and sizes ``(S,)``, these at most ``width``.

    Raises:
        SettingError: one is out of range, or no list of numbers.
    """
    checked = [np.atleast_1d(np.asarray(values)) for values in (lams, gammas, sizes)]
    for name, values in zip(("lams", "gammas", "sizes"), checked, strict=True):
        kinds = "iu" if name == "sizes" else "iuf"
        if values.ndim != 1 or (values.size and values.dtype.kind not in kinds):
            raise SettingError(f"{name} must be a list of numbers, got {values.dtype} array")
    for lam in checked[0]:
        Fusion(lam=float(lam))
    for gamma in checked[1]:
        Fusion(gamma=float(gamma))
    for size in checked[2]:
        Fusion(shortlist_size=int(size))
    heads = np.minimum(checked[2].astype(np.int64), width)
    return checked[0].astype(np.float64), checked[1].astype(np.float64), heads


def _scores(global_scores: npt.ArrayLike) -> Floats:
    """Return first-stage scores as a shortlist holds them."""
    given = np.asarray(global_scores, dtype=np.float32)
    if given.ndim != 2:
        raise ShortlistError(f"global_scores need the shape (Q, K), got {given.shape}")
    if not (given[:, 1:] <= given[:, :-1]).all() or not (given < np.inf).all():
        rows = np.where(np.isneginf(given), EMPTY, np.arange(given.shape[1]))
        return Shortlist(rows, given).scores  # says what is wrong, and where
    return np.ascontiguousarray(given)


def _weights(weights: npt.ArrayLike, shape: tuple[int, ...], relevant: Bools) -> Doubles:
    """Return what each place pays, in [0, 1]: NaN and what is not relevant pays nothing."""
    given = aligned("weights", weights, shape).astype(np.float64)
    values = np.where(relevant & ~np.isnan(given), given, 0.0)
    if values.size and not (values.min() >= -1e-6 and values.max() <= 1 + 1e-6):
        raise SettingError(
            f"weights must lie in [0, 1], got values from {values.min()} to {values.max()}"
        )
    return values.clip(0.0, 1.0)
