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
        gallery: its global vectors are indexed (trained first where the index needs it).
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
        depth = len(self.gallery) if size is None else min(size, len(self.gallery))
        if depth < 0:
            raise SettingError(f"the shortlist size must be at least 0, got {size}")
        if depth == 0 or len(queries) == 0:
            shape = (len(queries), depth)
            return Shortlist(np.full(shape, EMPTY), np.full(shape, -np.inf, dtype=np.float32))
        scores, rows = self._index.search(queries.vectors, depth)
        order = np.lexsort((rows, -scores), axis=1)  # equal scores: the lower row first
        return Shortlist(
            np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
        )


def _build(gallery: Gallery, factory: str) -> Any:
    check_factory(factory, gallery.dim, len(gallery) or None)
    import faiss

    known = factory if len(gallery) else "Flat"  # nothing to train on, nothing to find
    try:
        index = faiss.index_factory(gallery.dim, known, faiss.METRIC_INNER_PRODUCT)
        vectors = np.asarray(gallery.global_vectors)
        if not index.is_trained:
            index.train(vectors)
        for start in range(0, len(vectors), ADD_ROWS):
            index.add(np.ascontiguousarray(vectors[start : start + ADD_ROWS]))
    except (RuntimeError, MemoryError) as error:
        raise SettingError(
            f"faiss cannot build {factory!r} over {len(gallery)} vectors of {gallery.dim} "
            f"dimensions: {short_reason(error)}"
        ) from error
    return index
