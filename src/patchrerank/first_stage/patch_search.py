"""Exhaustive patch search: Patchify as the retriever itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.boxes import Floats
from patchrerank.errors import GalleryError, SettingError
from patchrerank.first_stage.patch_index import open_patch_index
from patchrerank.gallery import Gallery
from patchrerank.gallery.removed_rows import Flags
from patchrerank.types import EMPTY, Queries, Rows, Shortlist

DEPTH_FACTOR = 5
"""Patches asked for at first, per image wanted; doubled until enough images are found."""

MOST_PROBES = (1 << 31) - 1

MOST_RESULTS = 10_000_000
"""Patches that one faiss call may return; more queries go in several calls."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PatchResult:
    """What an exhaustive patch search found.

    Attributes:
        shortlist: images by their best patch's similarity, best first.
        boxes: float32 ``(Q, K, 4)``, that patch's region; NaN in empty slots.
        found: int64 ``(Q,)``, distinct images found; fewer than asked for where the probed lists
            hold no more (then the last slots are empty).
    """

    shortlist: Shortlist
    boxes: Floats
    found: Rows


class PatchSearch:
    """All patches of all images in one faiss index; an image scores by its best patch.

    Source: Patchify (WACV 2026), where the published index is ``IVF4096,PQ64``.

    Args:
        gallery: whose patches were indexed.
        folder: written by :func:`patchrerank.first_stage.build_patch_index`.
        nprobe: lists visited by an inverted-file index (more: better and slower); None keeps
            the index's own setting.

    Raises:
        GalleryError: no index there, or one of another gallery.
        SettingError: ``nprobe`` for an index that has no lists.
    """

    def __init__(self, gallery: Gallery, folder: str | Path, nprobe: int | None = None) -> None:
        self.gallery = gallery
        self.folder = Path(folder)
        self._index, self.record = open_patch_index(gallery, folder)
        if nprobe is not None:
            self._set_nprobe(nprobe)
        counts = np.diff(gallery.patch_ends, prepend=0)
        self._image_of_patch = np.repeat(np.arange(len(gallery), dtype=np.int32), counts)
        gone = gallery.live_count < len(gallery)
        self._gone = gallery.removed[self._image_of_patch] if gone else None

    def search(self, queries: Queries, size: int) -> PatchResult:
        """Return the ``size`` best images of each query.

        The number of patches asked of the index grows until ``size`` distinct images are found
        or the index has no more to give; a list that stays shorter is logged and ends in empty
        slots.

        Raises:
            QueryError: the queries do not live in the gallery's space.
            SettingError: ``size`` is negative.
        """
        self.gallery.check_queries(queries)
        if size < 0:
            raise SettingError(f"the number of images must be at least 0, got {size}")
        size = min(size, self.gallery.live_count)
        scores = np.full((len(queries), size), -np.inf, dtype=np.float32)
        patches = np.full((len(queries), size), EMPTY, dtype=np.int64)
        block = max(1, MOST_RESULTS // max(1, self._index.ntotal))
        for start in range(0, len(queries), block):
            wanted = np.arange(start, min(start + block, len(queries)))
            self._deepen(queries, wanted, scores, patches)
        return self._result(scores, patches)

    def _deepen(self, queries: Queries, wanted: Rows, scores: Floats, patches: Rows) -> None:
        """Ask for ever more patches until the rows ``wanted`` are full or the index is empty."""
        total = self._index.ntotal
        depth = min(DEPTH_FACTOR * scores.shape[1], total)
        while len(wanted) and depth > 0:
            exhausted = self._search_into(queries, wanted, depth, scores, patches)
            short = (patches[wanted] == EMPTY).any(axis=1) & ~exhausted
            if depth >= total:
                return
            wanted, depth = wanted[short], min(2 * depth, total)

    def _search_into(
        self, queries: Queries, wanted: Rows, depth: int, scores: Floats, patches: Rows
    ) -> Any:
        """Fill the rows ``wanted``; return for each whether the index gave all it has."""
        from patchrerank.kernels.group import first_hits

        similarity, found = self._index.search(queries.vectors[wanted], depth)
        if found.size and not EMPTY <= found.min() <= found.max() < len(self._image_of_patch):
            raise GalleryError(
                f"{self.folder}: the index names patch {found.max()}, the gallery has "
                f"{len(self._image_of_patch)}; build it again"
            )
        exhausted = (found == EMPTY).any(axis=1)
        if self._gone is not None:
            similarity, found = _living(similarity, found, self._gone)
        slots = first_hits(found, self._image_of_patch, len(self.gallery), scores.shape[1])
        known = slots >= 0
        scores[wanted] = np.where(
            known, np.take_along_axis(similarity, slots.clip(0), axis=1), -np.inf
        )
        patches[wanted] = np.where(known, np.take_along_axis(found, slots.clip(0), axis=1), EMPTY)
        return exhausted

    def _result(self, scores: Floats, patches: Rows) -> PatchResult:
        known = patches >= 0
        rows = np.full(patches.shape, EMPTY, dtype=np.int64)
        rows[known] = self._image_of_patch[patches[known]]
        boxes = np.full((*patches.shape, 4), np.nan, dtype=np.float32)
        boxes[known] = self.gallery.boxes[patches[known]]
        found = known.sum(axis=1)
        short = np.flatnonzero(found < patches.shape[1])
        if len(short):
            logger.warning(
                "%d of %d queries found fewer than %d images in the lists that were probed "
                "(query %d: %d); raise nprobe to find more",
                len(short), len(found), patches.shape[1], short[0], found[short[0]],
            )  # fmt: skip
        return PatchResult(Shortlist(rows, scores), boxes, found)

    def _set_nprobe(self, nprobe: int) -> None:
        import faiss

        if not 1 <= nprobe <= MOST_PROBES:
            raise SettingError(f"nprobe must be at least 1 and at most {MOST_PROBES}, got {nprobe}")
        try:
            faiss.ParameterSpace().set_index_parameter(self._index, "nprobe", nprobe)
        except RuntimeError as error:
            raise SettingError(
                f"index {self.record.factory!r} has no nprobe ({str(error).splitlines()[0]})"
            ) from error


def _living(scores: Floats, patches: Rows, gone: Flags) -> tuple[Floats, Rows]:
    """Return the patches ``(q, D)`` of images that are there, in their order; -1 behind them."""
    passed = (patches == EMPTY) | gone[patches]
    order = np.argsort(passed, axis=1, kind="stable")
    kept = np.where(passed, EMPTY, patches)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(kept, order, axis=1)
