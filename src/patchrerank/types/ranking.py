"""What comes out: local scores, a ranking, hits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from patchrerank.hit_scores import falling_scores
from patchrerank.types.arrays import EMPTY, Floats, Rows, nan_table
from patchrerank.types.missing import MissingCandidates
from patchrerank.types.queries import QueryCrop
from patchrerank.types.query_views import ViewSource
from patchrerank.types.shortlist import Shortlist

Status: TypeAlias = Literal["rescored", "behind", "kept", "fallback"]
"""How a hit came by its place."""

Tables: TypeAlias = tuple[npt.NDArray[Any], ...]
"""Rows, fused, global and local scores of a ranking, ``(Q, K)``, and boxes ``(Q, K, 4)``."""


@dataclass(frozen=True)
class LocalScores:
    """What a reranker found for each slot of a shortlist.

    Attributes:
        scores: float32 ``(Q, K)``; ``-inf`` in empty slots and where there was no evidence.
        boxes: float32 ``(Q, K, 4)`` where it was found, NaN where nowhere; None if the method
            does not localise.
        failed: for each of the Q queries why its candidates could not be scored, empty where they
            were; ``()``: all were. Such a query keeps the order that came in.
    """

    scores: Floats
    boxes: Floats | None = None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranking:
    """A reordered shortlist with everything that led to the order; all ``(Q, K)``, best first.

    Attributes:
        rows: int64 gallery rows, ``-1`` = empty slot.
        scores: float32 fused scores, as stages need them. They do not carry the order: saturated
            ones tie, and behind the fusion's cut they are the scores that came in, on another
            scale. :meth:`hit_scores` carries it.
        global_scores: float32 scores of the first stage.
        local_scores: float32 scores of the last reranker that saw the candidate; NaN if none did.
        boxes: float32 ``(Q, K, 4)``, NaN rows where there is no box.
        crops: what was done with the box of each query (see :class:`Queries`); empty: nothing.
        views: what told each query's object from its ground (see :class:`Queries`); empty: no
            views.
        settings: what produced the ranking, for the record (reranker and fusion of each stage).
        probabilities: float32, that the candidate shows the query's object, in [0, 1]; NaN where
            the last stage did not rescore it. None without a calibration.
        missing: the shortlist's, see there; in no table, among the hits where they are kept.
        failed: for each query which stage could not score it, and why; empty: none. ``()``: of no
            query. Such a list is as the stages before left it.
    """

    rows: Rows
    scores: Floats
    global_scores: Floats
    local_scores: Floats
    boxes: Floats
    crops: tuple[QueryCrop, ...] = ()
    settings: tuple[str, ...] = field(default=())
    probabilities: Floats | None = None
    missing: tuple[MissingCandidates | None, ...] = ()
    failed: tuple[str, ...] = ()
    views: tuple[ViewSource, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(
        cls,
        shortlist: Shortlist,
        crops: tuple[QueryCrop, ...] = (),
        views: tuple[ViewSource, ...] = (),
    ) -> Ranking:
        """Return the first stage's order, which nobody has rescored yet."""
        return cls(
            rows=shortlist.rows,
            scores=shortlist.scores,
            global_scores=shortlist.scores,
            local_scores=nan_table(*shortlist.rows.shape),
            boxes=nan_table(*shortlist.rows.shape, 4),
            crops=crops,
            missing=shortlist.missing,
            views=views,
        )

    @property
    def tables(self) -> Tables:
        """What goes along when the ranking is sorted again."""
        return self.rows, self.scores, self.global_scores, self.local_scores, self.boxes

    def with_tables(self, tables: Tables) -> Ranking:
        """Return the ranking with others in their place."""
        rows, scores, global_scores, local_scores, boxes = tables
        return replace(
            self,
            rows=rows,
            scores=scores,
            global_scores=global_scores,
            local_scores=local_scores,
            boxes=boxes,
        )

    def head(self, size: int) -> Shortlist:
        """Return the first ``size`` candidates with their fused scores, as a stage takes them."""
        return Shortlist.trusted(self.rows[:, :size], self.scores[:, :size])

    def hit_scores(self, first: int | None = None) -> Floats:
        """Return the scores that hits and runs carry; ``-inf`` in empty slots.

        float32 ``(Q, K)``, strictly falling: each is the fused score, lowered by as few steps of
        float32 as it takes to be below the one before. Sorted by them, hits keep their order.

        Args:
            first: only of so many first places, each the same as among all.
        """
        scores, rows = self.scores[:, :first], self.rows[:, :first]
        filled = None if rows.size and rows[:, -1].min() != EMPTY else rows != EMPTY
        return falling_scores(scores, filled, self.rows.shape[1] - scores.shape[1])

    def kept(self, query: int) -> MissingCandidates | None:
        """Return the missing candidates that stay among a query's hits, if there are any."""
        found = self.missing[query] if self.missing else None
        return found if found is not None and found.kept else None

    def listed(self, query: int) -> tuple[Rows, Floats]:
        """Return one query's whole list, best first, kept candidates at their places.

        Returns:
            int64 ``(n,)``, columns of the tables, where ``-1 - m`` stands for candidate m of
            ``missing[query]``; and float32 ``(n,)``, its hits' scores, which fall strictly.
        """
        columns = np.flatnonzero(self.rows[query] != EMPTY)
        scores, kept = self.scores[query, columns], self.kept(query)
        if kept is not None:
            columns, scores = kept.among(columns, scores)
        return columns, falling_scores(scores[None])[0]


@dataclass(frozen=True)
class Hit:
    """One entry of a result list.

    Attributes:
        id: the gallery id: text, or a whole number or UUID where the gallery's are; of a kept
            candidate the one that was asked for.
        score: the fused score, a float32 that falls strictly with the rank: where fused scores
            tie, or behind a cut lie above those before it, it is lowered by as few steps as that
            takes. Whoever sorts by it again, as trec_eval does, finds this order.
        rank: from 1.
        global_score: the first stage's score.
        local_score: the local score, or None if the candidate lay behind the cut.
        box: ``(x0, y0, x1, y1)`` in [0, 1] of the image, or None.
        query_crop: what was really done before the query was encoded: ``box`` (cut to its box)
            or ``none`` (it was encoded whole, or came as a vector).
        probability: that the image shows the query's object, in [0, 1], from a calibration
            (:class:`patchrerank.calibration.Calibration`); None without one, and for candidates
            that the last stage did not rescore.
        status: ``rescored`` by local evidence; ``behind`` the shortlist's cut, where the order is
            the one that came in; or ``kept``: the gallery does not hold it, so it keeps its place
            in the first stage's list, and ``global_score`` is all that is known of it.
        query_views: what told the query's object from its ground, so that views of it were
            encoded (:class:`QueryViews`): ``mask``, ``alpha``, ``plain``, ``grabcut`` or ``box``;
            ``none``: no views.
    """

    id: Any
    score: float
    rank: int
    global_score: float
    local_score: float | None
    box: tuple[float, float, float, float] | None
    query_crop: QueryCrop = "none"
    probability: float | None = None
    status: Status = "rescored"
    query_views: ViewSource = "none"
