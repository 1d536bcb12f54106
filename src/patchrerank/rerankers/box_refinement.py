"""Box refinement: tighter boxes from evidence at hand, without another network pass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from patchrerank.errors import SettingError, described
from patchrerank.kernels.checks import check_spans
from patchrerank.kernels.rows import row_products
from patchrerank.rerankers._correlation import located
from patchrerank.rerankers._local import flat_rows, local_of
from patchrerank.rerankers.base import Reranker
from patchrerank.types import Floats, LocalDescriptors, LocalScores, Queries, Rows, Shortlist

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder
    from patchrerank.gallery import Gallery, LocalStore

Refiner = Callable[[int, Rows, Floats], Floats]
"""From the number of a query, gallery rows ``(k,)`` and boxes ``(k, 4)`` to refined ones."""

Evidence = Literal["auto", "local", "patches"]


class RefineBoxes(Reranker):
    """Another reranker's scores with tighter boxes.

    From local descriptors: the connected region around the peak of the candidate's correlation
    with the query's descriptors, the peak looked for inside the wrapped reranker's box (see
    :class:`~patchrerank.rerankers.dense_correlation.DenseCorrelation`).

    From patches, where there are no local descriptors: the weighted mean of the boxes of the
    patches that touch the wrapped reranker's box. A patch weighs by the square of how far its
    similarity to the query stands above the median over the candidate's patches.

    A box for which there is no such evidence (no descriptors, nothing above the median) stays
    as it was. A reranker without boxes gets boxes.

    Args:
        reranker: whose boxes are refined; its gallery, encoder, fusion and query crop are used.
        top: how many candidates of each query get a refined box, those with the highest local
            scores; None: all that have a score.
        evidence: ``local``, ``patches``, or ``auto``: local descriptors if the queries and the
            gallery have them, else patches.
        dense_encoder: makes the local descriptors of query pictures, inside their box where one
            is known; not needed where queries bring ``local`` along, or for ``patches``.

    Raises:
        SettingError: an impossible ``top``, unknown evidence, or nothing that reranks.
    """

    def __init__(
        self,
        reranker: Reranker,
        *,
        top: int | None = None,
        evidence: Evidence = "auto",
        dense_encoder: DenseEncoder | None = None,
    ) -> None:
        if top is not None and top < 0:
            raise SettingError(f"top must be at least 0 or None (all), got {top}")
        if evidence not in ("auto", "local", "patches"):
            raise SettingError(f"evidence is {evidence!r}; use 'auto', 'local' or 'patches'")
        if not isinstance(reranker, Reranker):
            raise SettingError(
                f"the reranker is {described(reranker)}; wrap one, as in "
                "RefineBoxes(Patchify(gallery))"
            )
        super().__init__(reranker.gallery, reranker.encoder, reranker.fusion, reranker.query_crop)
        self.name = f"{reranker.name} (refined boxes)"
        self.reranker = reranker
        self.top = top
        self.evidence = evidence
        self.dense_encoder = dense_encoder
        self.list_depth = reranker.list_depth if top is None else sys.maxsize
        patches = evidence == "patches" or not self.gallery.has_local
        self.reads = reranker.reads | {"patches" if patches else "local"}

    def complete(self, queries: Queries) -> Queries:
        """Add what the wrapped reranker needs, and local descriptors; see the base class."""
        return super().complete(self.reranker.complete(queries))

    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Return the wrapped reranker's scores with refined boxes; see the base class.

        Raises:
            QueryError: besides the wrapped reranker's reasons: ``local`` evidence is asked for
                and the queries have none, or of another space.
            GalleryError: ``local`` evidence, and the gallery has none, or not of all images.
        """
        found = self.reranker.score(queries, shortlist)
        refine = self._refiner(queries, shortlist)
        boxes = np.full((*shortlist.rows.shape, 4), np.nan, dtype=np.float32)
        if found.boxes is not None:
            boxes[:] = found.boxes
        for number, images in enumerate(shortlist.rows):
            slots = best_slots(found.scores[number], self.top)
            refined = refine(number, images[slots], boxes[number, slots])
            known = ~np.isnan(refined).any(axis=1)
            boxes[number, slots[known]] = refined[known]
        return replace(found, boxes=boxes)

    def _refiner(self, queries: Queries, shortlist: Shortlist) -> Refiner:
        ready = queries.local is not None and self.gallery.has_local
        if self.evidence == "patches" or (self.evidence == "auto" and not ready):
            self.gallery.check_queries(queries)
            return partial(_from_patches, queries.vectors, self.gallery)
        local = self.gallery.local
        return partial(_from_local, local_of(queries, shortlist, local, self.name), local)


def best_slots(scores: Floats, top: int | None) -> Rows:
    """Return the slots of the ``top`` highest finite scores ``(K,)``, of equals the first."""
    order = np.argsort(-scores, kind="stable")
    return order[np.isfinite(scores[order])][:top]


def patch_mean_boxes(similarities: Floats, boxes: Floats, counts: Rows, anchors: Floats) -> Floats:
    """Return the weighted mean of the patches around each candidate's anchor.

    A patch that touches the anchor weighs ``max(0, s − median)²``, any other one 0; s is its
    similarity, the median is over all patches of the candidate.

    Args:
        similarities: float32 ``(n_1 + n_2 + …,)``, candidate by candidate.
        boxes: float32 ``(n_1 + n_2 + …, 4)``.
        counts: int64 ``(K,)``, patches of each candidate, at least 1.
        anchors: float32 ``(K, 4)``; a NaN row stands for the candidate's best patch,
            of equals the first.

    Returns:
        float32 ``(K, 4)``; NaN where no patch weighs anything.
    """
    if not len(counts):
        return np.zeros((0, 4), dtype=np.float32)
    firsts, slots = np.cumsum(counts) - counts, np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-np.arange(len(slots)), similarities, slots))
    low, high = order[firsts + (counts - 1) // 2], order[firsts + counts // 2]
    medians = (similarities[low].astype(np.float64) + similarities[high]) / 2
    best = order[firsts + counts - 1]
    around = np.where(np.isnan(anchors).any(axis=1, keepdims=True), boxes[best], anchors)[slots]
    touching = (boxes[:, :2] <= around[:, 2:]) & (boxes[:, 2:] >= around[:, :2])
    weights = np.maximum(similarities - medians[slots], 0.0) ** 2 * touching.all(axis=1)
    totals = np.add.reduceat(weights, firsts)[:, None]
    sums = np.add.reduceat(weights[:, None] * boxes, firsts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(totals > 0.0, sums / totals, np.nan).astype(np.float32)


def _from_local(
    queries: Sequence[LocalDescriptors], local: LocalStore, number: int, images: Rows, boxes: Floats
) -> Floats:
    if not len(queries[number]):
        return np.full_like(boxes, np.nan)
    return located(queries[number].vectors, local, images, boxes)


def _from_patches(
    vectors: Floats, gallery: Gallery, number: int, images: Rows, boxes: Floats
) -> Floats:
    store = gallery.patch_store
    spans = check_spans(images[None], gallery.patch_ends, len(store))
    counts, refined = spans.counts[0], np.full_like(boxes, np.nan)
    found = np.flatnonzero(counts)
    rows = flat_rows(spans.begins[0, found], counts[found])
    similarities = row_products(vectors[number], store, rows)
    refined[found] = patch_mean_boxes(
        similarities, gallery.boxes[rows], counts[found], boxes[found]
    )
    return refined
