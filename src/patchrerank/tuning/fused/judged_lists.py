"""Scored and judged lists, checked once, on which any number of fusions are evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError, ShortlistError
from patchrerank.kernels.threads import parts_of
from patchrerank.metrics.average_precision import average_precisions
from patchrerank.metrics.convention import APConvention
from patchrerank.metrics.lists import Bools, Doubles, aligned, ranked_lists
from patchrerank.tuning.fused.marked_lists import MarkedLists
from patchrerank.types import EMPTY, Floats, Rows, Shortlist

BLOCK = 32
"""Queries counted at a time, so that what they need stays in the processor's cache."""


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

    @cached_property
    def blocks(self) -> tuple[tuple[int, int, JudgedLists], ...]:
        """Some lists at a time, with where they begin and end."""
        parts = parts_of(len(self), -(-len(self) // BLOCK))
        return tuple((start, stop, self._take(start, stop)) for start, stop in parts)

    @cached_property
    def positives(self) -> MarkedLists:
        """The relevant among those who are ranked."""
        return MarkedLists.of(self.scores, self.local, self.counted, self.relevant)

    @cached_property
    def positives_among_all(self) -> MarkedLists:
        """The relevant where junk has its places too."""
        return MarkedLists.of(self.scores, self.local, self.valid, self.relevant)

    @cached_property
    def junk(self) -> Bools:
        """bool ``(Q, K)``."""
        return self.valid & ~self.counted

    @cached_property
    def junk_among_all(self) -> MarkedLists:
        """The junk where it has its places."""
        return MarkedLists.of(self.scores, self.local, self.valid, self.junk)

    @cached_property
    def known(self) -> Bools:
        """bool ``(Q,)``: who has positives."""
        return self.n_positives > 0

    @cached_property
    def scored(self) -> int:
        """How many slots, from the first on, have all their local scores."""
        lacking = (np.isnan(self.local) & self.valid).any(axis=0)
        return int(np.argmax(lacking)) if lacking.any() else self.local.shape[1]

    @cached_property
    def tied(self) -> bool:
        """Whether equal scores share a precision, so that scores matter beside the order."""
        return self.convention.ties == "threshold"

    @cached_property
    def normalisers(self) -> Doubles:
        """float64 ``(Q,)``, what the sum of precisions is divided by; never 0."""
        convention, bound = self.convention, self.n_positives
        if convention.normaliser == "min_length":
            bound = np.minimum(bound, self.valid.sum(axis=1))
        if convention.normaliser != "positives" and convention.cutoff is not None:
            bound = np.minimum(bound, convention.cutoff)
        return np.maximum(bound, 1).astype(np.float64)

    def _take(self, start: int, stop: int) -> JudgedLists:
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

    @cached_property
    def first_stage(self) -> Doubles:
        """float64 ``(Q,)``, the value of the first stage's order; NaN without positives."""
        return self._in_first_order(self.weights)

    def first_stage_within(self, size: int) -> Doubles:
        """Return the value ``(Q,)`` of the first stage's order if only a head of ``size`` pays."""
        if self.weights is None or self.tail_pays:
            return self.first_stage
        inside = np.arange(self.weights.shape[1]) < size
        return self._in_first_order(np.where(inside, self.weights, 0.0))

    def _in_first_order(self, weights: Doubles | None) -> Doubles:
        return average_precisions(
            self.relevant,
            self.n_positives,
            self.convention,
            scores=self.scores,
            junk=self.junk,
            valid=self.valid,
            weights=weights,
        )

    def check_scored(self, size: int) -> None:
        """Refuse NaN among the local scores of the first ``size`` candidates."""
        if size > self.scored:
            wrong = np.isnan(self.local[:, :size]) & self.valid[:, :size]
            query, place = (int(value) for value in np.argwhere(wrong)[0])
            raise ShortlistError(
                f"query {query}: the local score at position {place} is NaN, but the first {size} "
                "are to be rescored; compute it, or use -inf where there was no evidence"
            )


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
