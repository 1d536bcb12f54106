"""Patchify: the best patch of each candidate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from patchrerank.boxes import Floats
from patchrerank.errors import QueryError
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery
from patchrerank.gallery.rows_ahead import RowsAhead
from patchrerank.kernels.checks import check_threads
from patchrerank.rerankers._plain_requests import plain_answers, rescored_plainly
from patchrerank.rerankers.base import Reranker
from patchrerank.types import Hit, LocalScores, Queries, QueryCrop, Ranking, Rows, Shortlist

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder
    from patchrerank.kernels.devices import Device
    from patchrerank.kernels.held_rows import HeldRows
    from patchrerank.kernels.on_device import Best


class Patchify(Reranker):
    """A candidate's score is its best patch's similarity to the query; that patch is the box.

    Source: Patchify (WACV 2026). Scores are cosines in [-1, 1]; where several patches are
    equally similar, the first counts (coarse before fine, top left before bottom right).

    Args:
        gallery: built with the regions to look at, e.g. ``GridPyramid(3)``.
        encoder: encodes query pictures; not needed for ready vectors.
        fusion: default λ = 0 on the whole shortlist: the patch score alone.
        query_crop: what is done with a query's box before it is encoded.
        threads: how many threads score; results do not depend on it.
    """

    name = "patchify"
    reads = frozenset({"patches"})

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder | None = None,
        fusion: Fusion | None = None,
        query_crop: QueryCrop = "none",
        threads: int = 1,
    ) -> None:
        super().__init__(gallery, encoder, fusion, query_crop)
        self.threads = check_threads(threads)

    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Return the best patch's cosine and box for each candidate; see the base class."""
        from patchrerank.kernels.patches import best_rows

        self.gallery.check_queries(queries)
        if self.device is not None:
            from patchrerank.rerankers._on_device import brought_back

            best = self._best(self.device, queries, shortlist)
            return brought_back(best.scores, best.boxes)
        ahead: RowsAhead | None = getattr(self.gallery, "rows_ahead", None)
        mark = 0 if ahead is None else ahead.begin(shortlist.rows)
        scores, rows = best_rows(
            queries.vectors,
            self.gallery.patch_store,
            self.gallery.patch_ends,
            shortlist.rows,
            threads=self.threads,
        )
        boxes = self._boxes(rows)
        if ahead is not None:
            ahead.end(mark)
        return LocalScores(scores, boxes)

    def rescored(self, fusion: Fusion, queries: Queries, ranking: Ranking, size: int) -> Ranking:
        """Score and fuse lists in one call, if they are plain, or on the device; see there."""
        if self.device is not None:
            from patchrerank.rerankers._on_device import resorted

            self.gallery.check_queries(queries)
            best = self._best(self.device, queries, ranking.head(size))
            held = self._held(self.device)
            return resorted(fusion, ranking, best.scores, best.boxes, held)
        found = None
        if len(ranking) and self._is_plain:
            self.gallery.check_queries(queries)
            found = rescored_plainly(self.gallery, fusion, queries.vectors, ranking, size)
        return super().rescored(fusion, queries, ranking, size) if found is None else found

    def plain_answers(
        self, queries: Sequence[object], lists: Any, scores: Any, top_k: Any, fusion: Fusion
    ) -> list[list[Hit]] | None:
        """Return the hits of plain requests in few calls; see the base class."""
        if not self._is_plain:
            return None
        return plain_answers(self.gallery, fusion, queries, lists, scores, top_k)

    @property
    def _is_plain(self) -> bool:
        """Whether compiled requests do what this object does: subclasses may do more."""
        whole = type(self) is Patchify and type(self.gallery) is Gallery
        return whole and self.threads == 1 and self.device is None

    def _placed(self, device: Device | None) -> Self:
        return self._with_device(device)

    def _held(self, device: Device) -> HeldRows:
        """Return the patches on the device, with their boxes; finer rows, where codes have some."""
        from patchrerank.kernels.segments import plain, taken
        from patchrerank.kernels.stores import RescoredStore

        gallery, store = self.gallery, self.gallery.patch_store
        store = store.exact if isinstance(store, RescoredStore) else store
        boxes = plain(gallery.boxes) if gallery.has_boxes else None
        seen = None if boxes is None else partial(taken, boxes)
        return device.hold(store, gallery.patch_ends, seen)

    def _best(self, device: Device, queries: Queries, shortlist: Shortlist) -> Best:
        from patchrerank.kernels.checks import check_queries
        from patchrerank.kernels.on_device import best_on_device

        held = self._held(device)
        vectors = check_queries(queries.vectors, self.gallery.patch_store.dim)
        if len(shortlist) != len(vectors):
            raise QueryError(f"{len(vectors)} queries but {len(shortlist)} shortlists")
        return best_on_device(held, vectors, shortlist.rows)

    def _boxes(self, rows: Rows) -> Floats:
        """Return the box of each winning patch ``(Q, K)``; NaN where there is none."""
        from patchrerank.kernels.segments import plain, taken

        if not self.gallery.has_boxes:
            return np.full((*rows.shape, 4), np.nan, dtype=np.float32)
        found = taken(plain(self.gallery.boxes), rows.reshape(-1), missing=np.nan)
        return found.reshape(*rows.shape, 4)
