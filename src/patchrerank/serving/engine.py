"""A gallery and its reranker as a service holds them: replaced whole when a file changes."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from patchrerank.errors import PatchRerankError, SettingError
from patchrerank.first_stage import GlobalSearch
from patchrerank.gallery import Gallery
from patchrerank.gallery.manifest import MANIFEST
from patchrerank.images import PictureBytes
from patchrerank.pipeline import DEFAULT_STAGES, Cascade, Recipe, Tuned, load_reranker
from patchrerank.pipeline.loading import read_recipe
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
        for count in (1, 2):
            queries = Queries(np.repeat(self.gallery.global_vectors[rows], count, axis=0))
            table = np.repeat(rows[None], count, axis=0)
            shortlist = Shortlist(table, np.zeros(table.shape, dtype=np.float32))
            try:
                self.reranker.rerank(queries, shortlist)
            except PatchRerankError as error:  # stages that need the picture
                logger.info("not warmed up: %s", error)
                return


@dataclass(frozen=True)
class Places:
    """What an engine is loaded from.

    Attributes:
        gallery: its folder.
        stages: as :func:`patchrerank.pipeline.load_reranker` takes them, as text.
        tuned: a ``tuned.json`` or recipe in place of them.
        root: the folder that the gallery's pictures are in now; None: where they were.
        device: of the encoder.
        first_stage: a faiss index-factory string.
    """

    gallery: Path
    stages: str = DEFAULT_STAGES
    tuned: Path | None = None
    root: Path | None = None
    device: str = "auto"
    first_stage: str = "Flat"

    @property
    def stamp(self) -> Stamp:
        """What tells whether the gallery or the recipe changed."""
        return tuple(
            _stamp(path) for path in (self.gallery / MANIFEST, self.tuned) if path is not None
        )


class Engine:
    """What a service answers with; safe under threads.

    Attributes:
        current: the newest gallery and reranker; take it once for one request.

    Args:
        gallery: its folder.
        stages: as :func:`patchrerank.pipeline.load_reranker` takes them, as text.
        tuned: a ``tuned.json`` or recipe in place of them, which is read again when it changes.
        root: the folder that the gallery's pictures are in now, where they have moved.
        device: of the encoder.
        first_stage: a faiss index-factory string, for searches.
        settings: of :meth:`patchrerank.pipeline.Recipe.parse`, beside stages as text.

    Raises:
        PatchRerankError: see :func:`patchrerank.pipeline.load_reranker`.
    """

    def __init__(
        self,
        gallery: str | os.PathLike[str],
        stages: str = DEFAULT_STAGES,
        *,
        tuned: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        device: str = "auto",
        first_stage: str = "Flat",
        **settings: Any,
    ) -> None:
        if tuned is not None and settings:
            raise SettingError(f"{tuned} decides {', '.join(settings)}; leave them out")
        self._places = Places(
            Path(gallery),
            stages,
            None if tuned is None else Path(tuned),
            None if root is None else Path(root),
            device,
            first_stage,
        )
        self._settings = settings
        self._lock = threading.Lock()
        self.current = self._load()

    @property
    def changed(self) -> bool:
        """Whether the gallery or the recipe is another on disk."""
        return self._places.stamp != self.current.stamp

    def reload(self) -> Loaded:
        """Open the gallery and read the recipe again; what began with the old ones ends with them.

        Raises:
            PatchRerankError: they cannot be read; the old ones stay.
        """
        with self._lock:
            self.current = self._load()
            return self.current

    def picture(self, image_id: Any) -> Path | PictureBytes:
        """Return the picture of a gallery's image: a file, or its bytes.

        Raises:
            ShortlistError: the gallery does not hold it.
            ImageError: its picture is not where it was.
        """
        now = self.current
        return now.gallery.pictures[now.row_of(image_id)]

    def _load(self) -> Loaded:
        places, stamp = self._places, self._places.stamp
        gallery = Gallery(places.gallery, root=places.root)
        made = self._recipe()
        reranker = load_reranker(gallery, made, device=places.device)
        recipe = made.recipe if isinstance(made, Tuned) else made
        found = Loaded(gallery, reranker, recipe, places.first_stage, stamp)
        found.warm_up()
        return found

    def _recipe(self) -> Recipe | Tuned:
        if self._places.tuned is not None:
            return read_recipe(self._places.tuned)
        return Recipe.parse(self._places.stages, **self._settings)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
