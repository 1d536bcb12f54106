"""Rerankers whose evidence lies in a store: fetched and scored here, or scored there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError, check_kind, described
from patchrerank.fusion import DEFAULT_FUSION, Fusion, fuse
from patchrerank.gallery import Gallery
from patchrerank.integrations.stores.space import unit_queries
from patchrerank.integrations.stores.store import VectorStore
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import Patchify, Ranker, Reranker
from patchrerank.rerankers.base import check_parts
from patchrerank.rerankers.box_refinement import best_slots
from patchrerank.rerankers.given_queries import Query
from patchrerank.rerankers.hits import hits_of
from patchrerank.types import (
    EMPTY,
    Floats,
    Hit,
    LocalScores,
    Queries,
    QueryCrop,
    Ranking,
    Shortlist,
)

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

Maker = Callable[[Any], Ranker]
"""From evidence, which is as good as a gallery, to what reranks with it."""


def patchify(evidence: Any) -> Ranker:
    """Make Patchify of evidence, fused as everything that reranks a search begins with."""
    return Patchify(evidence, fusion=DEFAULT_FUSION)


class _Searching(Ranker):
    """Search in a store and rerank in one call."""

    store: VectorStore

    def search(
        self, query: Query, size: int = 100, top_k: int | None = None, *, box: Any = None
    ) -> list[Hit]:
        """Return the best of the ``size`` images nearest to a query, reranked.

        Args:
            query: a picture, words, or a ready vector, as :meth:`Ranker.rank` takes it.
            size: how many candidates the store is asked for.
            top_k: return only the first hits.
            box: where the object is in the query picture, in [0, 1].
        """
        queries = self.encode([query], [box])
        return hits_of(self.rerank(queries, self.store.search(queries, size)), self.gallery, top_k)[
            0
        ]


class StoreReranker(_Searching):
    """*Here*: the candidates' evidence is fetched, and any reranker of ours scores it.

    Each stage of a cascade fetches that of the candidates that it scores, and only what it reads:
    patches and boxes, or local descriptors, where they were pushed. An image that was deleted
    between search and rerank has no evidence: its local score is −inf.

    Args:
        store: a gallery was pushed into it.
        encoder: encodes query pictures; not needed for ready vectors.
        make: makes the reranker, or a cascade, of the evidence; called anew for each call of
            :meth:`rerank`, so it should load nothing. Default: Patchify at 0.1, 4. For example
            ``lambda e: RefineBoxes(Patchify(e, fusion=Fusion(0.3, 4)), evidence="patches")``.
        query_crop: what is done with a query's box before it is encoded.

    Raises:
        GalleryError: no gallery was pushed, or not what the reranker reads.
        SettingError: ``make`` makes nothing that reranks the evidence that it is given.
        QueryError: the encoder is not that of the store's vectors.
    """

    def __init__(
        self,
        store: VectorStore,
        encoder: Encoder | None = None,
        make: Maker = patchify,
        query_crop: QueryCrop = "none",
    ) -> None:
        check_kind("store", store, VectorStore, "QdrantStore(…), for one")
        self.store, self.gallery = store, cast(Gallery, store.gallery)
        check_parts(self.gallery, encoder, None, query_crop)
        self.encoder, self.query_crop, self.make = encoder, query_crop, make
        self._ranker = _fetching(store, make)

    @property
    def first_lam(self) -> float:
        """λ of the reranker that is made; see the base class."""
        return self._ranker.first_lam

    def encode(
        self,
        queries: Sequence[Query],
        boxes: Sequence[npt.ArrayLike | None] | None = None,
        masks: Sequence[Any] | None = None,
    ) -> Queries:
        """Encode pictures once with whatever the reranker needs; see the base class."""
        return self._ranker.complete(super().encode(queries, boxes, masks))

    def rerank(self, queries: Queries, shortlist: Shortlist) -> Ranking:
        """Fetch what all queries' candidates need, stage by stage, and rerank."""
        return self._ranker.rerank(queries, shortlist)


def _fetching(store: VectorStore, make: Maker) -> Reranker | Cascade:
    """Return what ``make`` makes, with evidence that is fetched when it scores."""
    unfed = make(evidence := store.evidence([]))
    if not isinstance(unfed, Reranker | Cascade) or cast(Any, unfed.gallery) is not evidence:
        raise SettingError(
            f"make made {described(unfed)}; make a reranker or cascade of what it is given"
        )
    if isinstance(unfed, Reranker):
        return _Fetching(store, unfed, make)
    stages = [
        Stage(_Fetching(store, stage.reranker, _stage_of(make, number)), stage.fusion)
        for number, stage in enumerate(unfed.stages)
    ]
    return Cascade(stages, unfed.calibration)


def _stage_of(make: Maker, number: int) -> Maker:
    return lambda evidence: cast(Cascade, make(evidence)).stages[number].reranker


class _Fetching(Reranker):
    """A reranker that is made anew, of fetched evidence, whenever it scores.

    Args:
        store: where the evidence is.
        unfed: one of no images, which says all that the others would say of themselves.
        make: makes one.
    """

    def __init__(self, store: VectorStore, unfed: Reranker, make: Maker) -> None:
        super().__init__(cast(Gallery, store.gallery), None, unfed.fusion)
        self.store, self._unfed, self._make = store, unfed, make
        self.name, self.reads, self.list_depth = unfed.name, unfed.reads, unfed.list_depth

    def complete(self, queries: Queries) -> Queries:
        """Add what the reranker compares beside global vectors."""
        return self._unfed.complete(queries)

    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Fetch what all queries' candidates need, once, and score it; see the base class."""
        filled = shortlist.rows != EMPTY
        wanted, places = np.unique(shortlist.rows[filled], return_inverse=True)
        rows = np.full(shortlist.rows.shape, EMPTY, dtype=np.int64)
        rows[filled] = places
        evidence = self.store.evidence([self.store.gallery.keys[row] for row in wanted.tolist()])
        made = cast(Reranker, self._make(evidence))
        return made.score(queries, Shortlist.trusted(rows, shortlist.scores, shortlist.missing))


class StorePatchify(Reranker, _Searching):
    """*There*: the store computes each candidate's best patch similarity; vectors stay there.

    Which patch won, and its box, no store says: the patches of the best ``boxed`` candidates are
    fetched for it. Scores are those of :class:`patchrerank.rerankers.Patchify` to 1e-5.

    Args:
        store: a gallery was pushed into it; it scores exactly (``store.scores_there``).
        encoder: encodes query pictures; not needed for ready vectors.
        fusion: default λ = 0.1, γ = 4 on the whole shortlist.
        query_crop: what is done with a query's box before it is encoded.
        boxed: how many candidates of each query, the best by ``fusion``, get a box; None: all.

    Raises:
        GalleryError: no gallery was pushed.
        SettingError: the store does not score, or ``boxed`` is negative.
        QueryError: the encoder is not that of the store's vectors.
    """

    name = "patchify-there"
    reads = frozenset({"patches"})

    def __init__(
        self,
        store: VectorStore,
        encoder: Encoder | None = None,
        fusion: Fusion | None = None,
        query_crop: QueryCrop = "none",
        boxed: int | None = 10,
    ) -> None:
        check_kind("store", store, VectorStore, "QdrantStore(…), for one")
        if not store.scores_there:
            store.best(np.zeros(0, dtype=np.float32), [])  # says why
        if boxed is not None and boxed < 0:
            raise SettingError(f"boxed must be at least 0 or None (all), got {boxed}")
        super().__init__(
            cast(Gallery, store.gallery), encoder, fusion or DEFAULT_FUSION, query_crop
        )
        self.store, self.boxed = store, boxed

    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Return the best patch's cosine for each candidate, and the boxes of the best."""
        self.gallery.check_queries(queries)
        scores = np.full(shortlist.rows.shape, -np.inf, dtype=np.float32)
        norms = np.linalg.norm(queries.vectors, axis=1)  # as the kernels: an inner product
        for query, vector in enumerate(unit_queries(queries.vectors)):
            slots = np.flatnonzero(shortlist.rows[query] != EMPTY)
            keys = [self.store.gallery.keys[row] for row in shortlist.rows[query, slots].tolist()]
            best = self.store.best(vector, keys)
            scores[query, slots] = [best.get(key, -np.inf) * norms[query] for key in keys]
        return LocalScores(scores, self._boxes(queries, shortlist, scores))

    def _boxes(self, queries: Queries, shortlist: Shortlist, scores: Floats) -> Floats:
        """Fetch the patches of the best candidates, and return where each query met them."""
        boxes = np.full((*scores.shape, 4), np.nan, dtype=np.float32)
        if not self.gallery.has_boxes or self.boxed == 0:
            return boxes
        width, lam, gamma = scores.shape[1], self.fusion.lam, self.fusion.gamma
        order = scores if lam == 0 else fuse(shortlist.scores[:, :width], scores, lam, gamma)
        kept = np.zeros(scores.shape, dtype=bool)
        for query, values in enumerate(order):
            shown = np.where(np.isfinite(scores[query]), values, -np.inf).astype(np.float32)
            kept[query, best_slots(shown, self.boxed)] = True
        rows, where = np.unique(shortlist.rows[kept], return_inverse=True)
        evidence = self.store.evidence([self.store.gallery.keys[row] for row in rows.tolist()])
        local = np.full(scores.shape, EMPTY, dtype=np.int64)
        local[kept] = where
        found = Patchify(cast(Gallery, evidence)).score(queries, Shortlist.trusted(local, scores))
        return boxes if found.boxes is None else found.boxes
