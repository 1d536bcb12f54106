"""Box refinement: tighter boxes from evidence at hand, without another network pass."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal, Self, get_args

import numpy as np

from patchrerank.errors import GalleryError, SettingError, described
from patchrerank.kernels.checks import check_spans
from patchrerank.kernels.rows import row_products
from patchrerank.rerankers._aspects import drawn_to, with_aspects
from patchrerank.rerankers._background import Background
from patchrerank.rerankers._correlation import located
from patchrerank.rerankers._local import flat_rows, local_of
from patchrerank.rerankers._patch_boxes import patch_boxes
from patchrerank.rerankers.base import Reranker
from patchrerank.types import Floats, LocalDescriptors, LocalScores, Queries, Rows, Shortlist

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder
    from patchrerank.kernels.devices import Device

Refiner = Callable[[int, Rows, Floats], Floats]
"""From the number of a query, gallery rows ``(k,)`` and boxes ``(k, 4)`` to refined ones."""

Evidence = Literal["auto", "local", "patches"]

CUT_LOCAL, CUT_PATCHES = 0.4, 0.5
"""Where a region ends by default; maps of patches are less sharp."""

logger = logging.getLogger(__name__)


class RefineBoxes(Reranker):
    """Another reranker's scores, untouched, with tighter boxes.

    From local descriptors: the connected region around the peak of a map, the peak looked for
    inside the wrapped reranker's box. A cell's value is its descriptor's inner product with what
    tells the query's descriptors from those of the gallery in general
    (:class:`~patchrerank.rerankers._background.Background`, learned from 2,048 of them when it is
    first needed; it takes D² floats of memory).

    From patches, where there are no local descriptors: the same on a map of the patches' scores,
    averaged with a mean of the boxes of patches that touch the wrapped reranker's box
    (:func:`~patchrerank.rerankers._patch_boxes.patch_boxes`). About a quarter of the time, and no
    bytes beside the patches.

    The box found is then drawn towards the aspect ratio of the query's object
    (``Queries.aspects``: of its box, or of the foreground on a plain background), centre and area
    kept; where that, or the size of the candidate's picture, is unknown, it stays as found.

    A box for which there is no such evidence (no descriptors, equal patches) stays as it was. A
    reranker without boxes gets boxes.

    Args:
        reranker: whose boxes are refined; its gallery, encoder, fusion and query crop are used.
        top: how many candidates of each query get a refined box, those with the highest local
            scores; None: all that have a score.
        evidence: ``local``, ``patches``, or ``auto``: local descriptors if the queries and the
            gallery have them, else patches (which is logged).
        cut: in (0, 1], where the region ends: this share of the peak's height above the map's
            median. Higher is tighter. None: 0.4 by local descriptors, 0.5 by patches.
        aspect: in [0, 1], how far the aspect ratio is drawn to the query's, on the logarithmic
            scale: 0 not at all, 1 all the way.
        dense_encoder: makes the local descriptors of query pictures, inside their box where one
            is known; not needed where queries bring ``local`` along, or for ``patches``.

    Raises:
        SettingError: a setting out of range, unknown evidence, or nothing that reranks.
        GalleryError: the gallery's patches have no boxes, and there are no local descriptors to
            be used in their place.
    """

    def __init__(
        self,
        reranker: Reranker,
        *,
        top: int | None = None,
        evidence: Evidence = "auto",
        cut: float | None = None,
        aspect: float = 0.5,
        dense_encoder: DenseEncoder | None = None,
    ) -> None:
        _check(reranker, top, evidence, cut, aspect)
        super().__init__(reranker.gallery, reranker.encoder, reranker.fusion, reranker.query_crop)
        self.reranker, self.top, self.evidence = reranker, top, evidence
        self.cut, self.aspect = cut, aspect
        if reranker.query_views is not None:
            self.query_views = reranker.query_views
        self.dense_encoder = dense_encoder
        self.list_depth = reranker.list_depth if top is None else sys.maxsize
        self.reads = reranker.reads | {"local" if self._local else "patches"}
        by = "local descriptors" if self._local else "patches"
        self.name = f"{reranker.name} (boxes refined by {by})"
        if evidence == "auto" and not self._local:
            logger.warning(
                "boxes of %s are refined by patches, since %s has no local descriptors",
                reranker.name,
                self.gallery.folder,
            )

    @property
    def _local(self) -> bool:
        """Whether local descriptors are used where a query has them."""
        return self.evidence == "local" or (self.evidence == "auto" and self.gallery.has_local)

    @cached_property
    def _background(self) -> Background:
        return Background.of(self.gallery.local)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_background"}

    def _placed(self, device: Device | None) -> Self:
        made = copy(self)
        made.reranker = self.reranker._placed(device)
        return made

    def complete(self, queries: Queries) -> Queries:
        """Add what the wrapped reranker needs, local descriptors, and aspect ratios."""
        found = super().complete(self.reranker.complete(queries))
        return with_aspects(found) if self.aspect > 0 else found

    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Return the wrapped reranker's scores with refined boxes; see the base class.

        Raises:
            QueryError: besides the wrapped reranker's reasons: ``local`` evidence is asked for,
                or the patches have no boxes, and the queries have none, or of another space.
            GalleryError: ``local`` evidence, and the gallery has none, or not of all images.
        """
        found = self.reranker.score(queries, shortlist)
        refine = self._refiner(queries, shortlist)
        boxes = np.full((*shortlist.rows.shape, 4), np.nan, dtype=np.float32)
        if found.boxes is not None:
            boxes[:] = found.boxes
        for number, images in enumerate(shortlist.rows):
            slots = best_slots(found.scores[number], self.top)
            refined = self._shaped(
                refine(number, images[slots], boxes[number, slots]), images[slots], queries, number
            )
            known = ~np.isnan(refined).any(axis=1)
            boxes[number, slots[known]] = refined[known]
        return replace(found, boxes=boxes)

    def _refiner(self, queries: Queries, shortlist: Shortlist) -> Refiner:
        usable = queries.local is not None or self.evidence == "local"
        if self._local and (usable or not self.gallery.has_boxes):
            local = local_of(queries, shortlist, self.gallery.local, self.name)
            return partial(self._from_local, local)
        if self._local:
            logger.info("%s: queries have no local descriptors, patches are used", self.name)
        self.gallery.check_queries(queries)
        return partial(self._from_patches, queries.vectors)

    def _shaped(self, boxes: Floats, images: Rows, queries: Queries, number: int) -> Floats:
        if queries.aspects is None or self.aspect == 0:
            return boxes
        aspect = float(queries.aspects[number])
        return drawn_to(boxes, self.gallery.sizes[images], aspect, self.aspect)

    def _from_local(
        self, queries: Sequence[LocalDescriptors], number: int, images: Rows, boxes: Floats
    ) -> Floats:
        nothing = np.full_like(boxes, np.nan)
        if not len(queries[number]):
            return nothing
        wanted = self._background.filter_of(queries[number].vectors)
        if not wanted.any():
            return nothing
        cut = CUT_LOCAL if self.cut is None else self.cut
        return located(wanted, self.gallery.local, images, boxes, cut=cut, smooth=False)

    def _from_patches(self, vectors: Floats, number: int, images: Rows, boxes: Floats) -> Floats:
        store = self.gallery.patch_store
        spans = check_spans(images[None], self.gallery.patch_ends, len(store))
        counts, refined = spans.counts[0], np.full_like(boxes, np.nan)
        found = np.flatnonzero(counts)
        rows = flat_rows(spans.begins[0, found], counts[found])
        scores = row_products(vectors[number], store, rows)
        places = self.gallery.boxes[rows]
        cut = CUT_PATCHES if self.cut is None else self.cut
        refined[found] = patch_boxes(scores, places, counts[found], boxes[found], cut=cut)
        return refined


def best_slots(scores: Floats, top: int | None) -> Rows:
    """Return the slots of the ``top`` highest finite scores ``(K,)``, of equals the first."""
    order = np.argsort(-scores, kind="stable")
    return order[np.isfinite(scores[order])][:top]


def _check(
    reranker: object, top: int | None, evidence: object, cut: float | None, aspect: float
) -> None:
    if top is not None and top < 0:
        raise SettingError(f"top must be at least 0 or None (all), got {top}")
    if evidence not in get_args(Evidence):
        raise SettingError(f"evidence is {evidence!r}; use 'auto', 'local' or 'patches'")
    if cut is not None and not 0.0 < cut <= 1.0:
        raise SettingError(f"cut must lie in (0, 1], got {cut}")
    if not 0.0 <= aspect <= 1.0:
        raise SettingError(f"aspect must lie in [0, 1], got {aspect}")
    if not isinstance(reranker, Reranker):
        raise SettingError(
            f"the reranker is {described(reranker)}; wrap one, as in RefineBoxes(Patchify(gallery))"
        )
    gallery = reranker.gallery
    unlocated = evidence != "local" and not gallery.has_boxes
    if unlocated and (evidence == "patches" or not gallery.has_local):
        raise GalleryError(
            f"{gallery.folder}: its patches have no boxes to refine by; import it with boxes, or "
            "make local descriptors"
        )
