"""A faiss index over the gallery's global vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from patchrerank.errors import SettingError, short_reason
from patchrerank.first_stage.factory_strings import check_factory
from patchrerank.gallery import Gallery
from patchrerank.types import EMPTY, Queries, Shortlist

ADD_ROWS = 65_536


class GlobalSearch:
    """First stage: inner product of global vectors, by any faiss index.

    Args:
        gallery: the global vectors of the images that are there are indexed (trained first where
            the index needs it).
        factory: a faiss index-factory string; the default ``Flat`` is exact. See
            :func:`patchrerank.first_stage.factory_strings.check_factory`.

    Raises:
        SettingError: the string is unknown, a number in it is out of range, or it needs more
            training vectors than the gallery holds.
    """

    def __init__(self, gallery: Gallery, factory: str = "Flat") -> None:
        self.gallery = gallery
        self.factory = factory
        self._index = _build(gallery, factory)

    def search(self, queries: Queries, size: int | None = None) -> Shortlist:
        """Return the ``size`` best images of each query (None: all of the gallery).

        An approximate index may find fewer; the slots behind are empty.

        Raises:
            QueryError: the queries do not live in the gallery's space.
            SettingError: ``size`` is negative.
        """
        self.gallery.check_queries(queries)
        most = self.gallery.live_count
        depth = most if size is None else min(size, most)
        if depth < 0:
            raise SettingError(f"the shortlist size must be at least 0, got {size}")
        if depth == 0 or len(queries) == 0:
            shape = (len(queries), depth)
            return Shortlist(np.full(shape, EMPTY), np.full(shape, -np.inf, dtype=np.float32))
        scores, rows = self._index.search(queries.vectors, depth)
        if most < len(self.gallery):  # numbers of rows among those that are there
            rows = np.where(rows == EMPTY, EMPTY, self.gallery.live[rows])
        order = np.lexsort((rows, -scores), axis=1)  # equal scores: the lower row first
        return Shortlist(
            np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
        )


def _build(gallery: Gallery, factory: str) -> Any:
    count = gallery.live_count
    check_factory(factory, gallery.dim, count or None)
    import faiss

    known = factory if count else "Flat"  # nothing to train on, nothing to find
    try:
        index = faiss.index_factory(gallery.dim, known, faiss.METRIC_INNER_PRODUCT)
        vectors = gallery.global_vectors
        live = slice(None) if count == len(gallery) else gallery.live
        if not index.is_trained:
            index.train(np.asarray(vectors[live]))
        for start in range(0, count, ADD_ROWS):
            part = slice(start, min(start + ADD_ROWS, count))
            rows = part if isinstance(live, slice) else live[part]
            index.add(np.ascontiguousarray(vectors[rows]))
    except (RuntimeError, MemoryError) as error:
        raise SettingError(
            f"faiss cannot build {factory!r} over {count} vectors of {gallery.dim} "
            f"dimensions: {short_reason(error)}"
        ) from error
    return index
