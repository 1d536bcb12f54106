"""A gallery and its reranker, opened once and never changed."""

from __future__ import annotations

import logging
import threading
from typing import Any, TypeAlias

import numpy as np

from patchrerank.errors import PatchRerankError
from patchrerank.first_stage import GlobalSearch
from patchrerank.gallery import Gallery
from patchrerank.pipeline import Cascade, Recipe
from patchrerank.types import Queries, Shortlist

logger = logging.getLogger(__name__)

Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""Inode, size and time of each file that is watched; None where there is none."""


class Loaded:
    """A gallery, its reranker and its first stage, as they were when they were opened.

    Nothing of it changes: a request that began with it ends with it.

    Attributes:
        gallery: open.
        reranker: on it.
        recipe: what the reranker was made of.
        stamp: of the files that it was read from.
    """

    def __init__(
        self, gallery: Gallery, reranker: Cascade, recipe: Recipe, factory: str, stamp: Stamp
    ) -> None:
        self.gallery, self.reranker, self.recipe = gallery, reranker, recipe
        self.stamp, self._factory = stamp, factory
        self._search: GlobalSearch | None = None
        self._lock = threading.Lock()

    def search(self, queries: Queries, size: int) -> Shortlist:
        """Return the first stage's best images of each query; its index is built when first asked.

        Raises:
            QueryError: the queries do not live in the gallery's space.
        """
        with self._lock:
            if self._search is None:
                self._search = GlobalSearch(self.gallery, self._factory)
        return self._search.search(queries, size)

    @property
    def needs_pictures(self) -> bool:
        """Whether a stage looks at more of a query than its vector."""
        reads = (stage.reranker.reads for stage in self.reranker.stages)
        return any(read & {"local", "pictures"} for read in reads)

    @property
    def local_stages(self) -> list[str]:
        """The names of stages that compare local descriptors, so that a vector is too little."""
        stages = self.reranker.stages
        return [stage.reranker.name for stage in stages if "local" in stage.reranker.reads]

    @property
    def usual_candidates(self) -> int:
        """How many candidates a search takes that does not say: all that are rescored, or 100."""
        return self.reranker.stages[0].fusion.shortlist_size or 100

    def row_of(self, image_id: Any) -> int:
        """Return the row of an id, which may be text as addresses have it.

        Raises:
            ShortlistError: the gallery does not hold it.
        """
        if isinstance(image_id, str):
            (image_id,) = self.gallery.ids.kind.read([image_id])
        return int(self.gallery.rows_of([image_id])[0])

    def warm_up(self) -> None:
        """Compile what scores, alone and together, so that no request waits for it."""
        if not self.gallery.live_count:
            return
        rows = self.gallery.live[:1]
        self.gallery.rows_of(self.gallery.ids.at(rows))
        for count in (1, 2):
            queries = Queries(np.repeat(self.gallery.global_vectors[rows], count, axis=0))
            table = np.repeat(rows[None], count, axis=0)
            shortlist = Shortlist(table, np.zeros(table.shape, dtype=np.float32))
            try:
                self.reranker.rerank(queries, shortlist)
            except PatchRerankError as error:  # stages that need the picture
                logger.debug("not warmed up: %s", error)
                return
