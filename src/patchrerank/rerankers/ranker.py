"""The drop-in call that everything able to rerank shares."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import QueryError, SettingError
from patchrerank.gallery import Gallery
from patchrerank.gallery.removed_rows import check_there
from patchrerank.rerankers.given_queries import Query, encode_given, query_list, ready_queries
from patchrerank.rerankers.hits import hits_of
from patchrerank.rerankers.placing import OnDevices
from patchrerank.rerankers.score_scale import warn_of_scale
from patchrerank.rerankers.viewing import HasQueryViews
from patchrerank.score_reading import Metric
from patchrerank.search_results import batch_of
from patchrerank.types import (
    Hit,
    Missing,
    Queries,
    QueryCrop,
    Ranking,
    ScoreLists,
    Shortlist,
    rank_scores,
)

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

logger = logging.getLogger(__name__)


class Ranker(HasQueryViews, OnDevices, ABC):
    """Anything that turns a shortlist into a better one: a reranker, or a cascade of them.

    Attributes:
        gallery: where the candidates' local evidence lies.
        encoder: encodes query pictures; None if queries always come as ready vectors.
        query_crop: what is done with a query's box: ``none`` or ``box``.
    """

    gallery: Gallery
    encoder: Encoder | None
    query_crop: QueryCrop

    @property
    def first_lam(self) -> float:
        """λ that weighs the scores of a shortlist; 0 where only its order counts."""
        return 0.0

    @abstractmethod
    def rerank(self, queries: Queries, shortlist: Shortlist) -> Ranking:
        """Rescore and reorder a batch of shortlists; pure: same input, same output."""

    def answer(
        self, queries: Sequence[object], lists: Any, scores: Any, top_k: Any
    ) -> list[list[Hit]] | None:
        """Return the hits of plain requests, if there is a quick way to them; else None."""
        return None

    def rank(
        self,
        query: Query,
        candidates: Sequence[Any],
        scores: Sequence[float] | npt.NDArray[np.floating] | None = None,
        top_k: int | None = None,
        *,
        box: npt.ArrayLike | None = None,
        mask: Any = None,
        sort: bool = False,
        higher_is_better: bool | None = None,
        metric: Metric | None = None,
        n_query_vectors: int | None = None,
        missing: Missing = "error",
    ) -> list[Hit]:
        """Rerank one query's candidates.

        Args:
            query: a path, file bytes, an open binary file (left where it stands), a picture, a
                ready global vector ``(d,)`` (numpy array, torch tensor, list of numbers, or
                anything with ``to_numpy``), or words (:class:`patchrerank.Text`), where the
                encoder has a text tower.
            candidates: gallery ids, best first, as the first stage returned them: text, whole
                numbers or UUIDs, whichever the gallery's are.
            scores: its scores, one an id, higher is better unless said otherwise. None means that
                only the order is known: then the global score of rank r of K is
                ``1 - (r - 1) / K``, and λ weighs the position instead of a similarity.
            top_k: return only the first hits (all candidates are rescored all the same).
            box: where the object is in the query picture, in [0, 1].
            mask: the same more exactly, for query views and local descriptors: bool ``(H, W)``
                of the upright picture, or a picture that is light on the object.
            sort: accept scores that are out of order, except lists that only rise, which look
                like distances.
            higher_is_better: which way is better, where neither the order nor a metric says it.
            metric: what the scores are, to make cosines of them: ``cosine-distance``, ``l2``,
                ``l2-squared``, ``inner-product`` or ``maxsim-sum``; see
                :class:`patchrerank.score_reading.ScoreReading`.
            n_query_vectors: how many vectors the query had, for ``maxsim-sum``.
            missing: what a candidate is that the gallery does not hold: an ``error``; ``keep``: a
                hit of the status ``kept``, where the first stage had it, the others being sorted
                around it; ``drop``: left out, which is logged.

        Returns:
            Hits, best first, with the component scores beside the fused one; their scores fall
            strictly. No candidates, no hits. Nothing that is passed in is changed.

        Raises:
            ShortlistError: unknown or duplicate ids, scores that are no finite numbers, wrong
                length or order.
            SettingError: settings that contradict each other.
            QueryError: the query does not live in the gallery's space.
            ImageError: the query picture cannot be read.
        """
        given = None if scores is None else [scores]
        lists = self.rank_batch(
            [query],
            [candidates],
            given,
            top_k,
            boxes=[box],
            masks=None if mask is None else [mask],
            sort=sort,
            higher_is_better=higher_is_better,
            metric=metric,
            n_query_vectors=n_query_vectors,
            missing=missing,
        )
        return lists[0]

    def rank_batch(
        self,
        queries: Sequence[Query],
        candidates: Sequence[Sequence[Any]],
        scores: ScoreLists | None = None,
        top_k: int | None = None,
        *,
        boxes: Sequence[npt.ArrayLike | None] | None = None,
        masks: Sequence[Any] | None = None,
        sort: bool = False,
        higher_is_better: bool | None = None,
        metric: Metric | None = None,
        n_query_vectors: int | Sequence[int] | None = None,
        missing: Missing = "error",
    ) -> list[list[Hit]]:
        """Rerank many queries at once; see :meth:`rank`. Candidate lists may differ in length."""
        queries, candidates = query_list(queries), batch_of(candidates, "candidates")
        if len(queries) != len(candidates):
            raise QueryError(f"{len(queries)} queries but {len(candidates)} lists of candidates")
        said = (masks, higher_is_better, metric, n_query_vectors, *(() if boxes is None else boxes))
        if missing == "error" and not sort and all(item is None for item in said):
            found = self.answer(queries, candidates, scores, top_k)
            if found is not None:
                return found
        shortlist = Shortlist.from_ids(
            self.gallery,
            candidates,
            scores,
            sort=sort,
            higher_is_better=higher_is_better,
            metric=metric,
            n_query_vectors=n_query_vectors,
            missing=missing,
        )
        if self.first_lam > 0:
            warn_of_scale(shortlist, self.first_lam)
        encoded = self.encode(queries, boxes, masks)
        return hits_of(self.rerank(encoded, shortlist), self.gallery, top_k)

    def rank_arrays(
        self,
        vectors: npt.ArrayLike,
        *,
        rows: npt.ArrayLike | None = None,
        ids: Sequence[Sequence[Any]] | None = None,
        scores: npt.ArrayLike | None = None,
        missing: Missing = "error",
    ) -> Ranking:
        """Rerank ready vectors, numpy arrays in and out: no object is made for a candidate.

        Args:
            vectors: float32 ``(Q, d)``, unit norm.
            rows: int64 ``(Q, K)``, the candidates' gallery rows, best first, ``-1`` in empty
                slots at the end.
            ids: the candidates' ids in place of rows, one sequence a query.
            scores: float32 ``(Q, K)``, the first stage's, higher is better, non-increasing; None:
                only the order is known, as in :meth:`rank`.
            missing: what ids are that the gallery does not hold, as in :meth:`rank`; they are
                found in :attr:`Ranking.missing`.

        Returns:
            The ranking: ``gallery.ids.at(ranking.rows[q])`` are the ids of query q, best first;
            :meth:`Ranking.hit_scores` the scores that carry the order. Kept candidates stand in
            no table; :meth:`Ranking.listed` says where they belong.

        Raises:
            QueryError: vectors of another shape, not finite, or not of unit norm.
            ShortlistError: rows outside the gallery, or removed from it, unknown ids, or scores
                out of order.
            SettingError: both rows and ids, or neither; or ``missing`` beside rows.
        """
        if (rows is None) is (ids is None):
            raise SettingError("rank_arrays takes candidates as rows=… or ids=…, one of them")
        if missing != "error" and rows is not None:
            raise SettingError("missing says something of ids=…; a row is one of the gallery's")
        queries = ready_queries(list(np.asarray(vectors, dtype=np.float32)), self.gallery.dim)
        if ids is not None:
            given = None if scores is None else list(np.asarray(scores))
            found = Shortlist.from_ids(self.gallery, ids, given, missing=missing)
            return self.rerank(queries, found)
        table = np.asarray(rows)
        if scores is None:
            scores = np.broadcast_to(rank_scores(table.shape[-1]), table.shape)
        shortlist = Shortlist(table, np.asarray(scores, dtype=np.float32))
        if self.gallery.live_count < len(self.gallery):
            check_there(self.gallery.folder, self.gallery.removed, shortlist.rows)
        return self.rerank(queries, shortlist)

    def encode(
        self,
        queries: Sequence[Query],
        boxes: Sequence[npt.ArrayLike | None] | None = None,
        masks: Sequence[Any] | None = None,
    ) -> Queries:
        """Encode pictures or words with the gallery's encoder; pass ready vectors through.

        Query views and crops do nothing to words and ready vectors.

        Raises:
            GalleryError: query views without backgrounds.
            QueryError: pictures or words without an encoder; pictures, words and vectors in one
                batch; words with a box; a mask without a picture, or that does not fit it.
            EncoderError: words for an encoder without a text tower.
        """
        how = self.gallery, self.query_crop, self.query_views, self.query_encoder
        return encode_given(queries, boxes, masks, *how)

    def query_encoder(self) -> Encoder | None:
        """Return what encodes query pictures; called when there is one."""
        return self.encoder
