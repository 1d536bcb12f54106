"""What speaks for one hit: every patch's score, and maps over its picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import PatchRerankError
from patchrerank.gallery import Gallery
from patchrerank.pipeline import Cascade
from patchrerank.rerankers.correlation_map import correlation_map
from patchrerank.rerankers.votes import VoteMap
from patchrerank.types import Floats, Queries

PATCH_CELLS = 32
VOTE_CELLS = 48
"""Cells of a map along each axis."""


@dataclass(frozen=True, eq=False)
class PictureMap:
    """Values over a picture.

    Attributes:
        name: what they are.
        values: float32 ``(h, w)``, of equal cells, finite.
    """

    name: str
    values: Floats


@dataclass(frozen=True, eq=False)
class Evidence:
    """Of one pair of query and image.

    Attributes:
        scores: float32 ``(P,)``, each patch's cosine with the query.
        boxes: float32 ``(P, 4)``, where it lies; NaN where that is unknown.
        maps: over the image's picture.
    """

    scores: Floats
    boxes: Floats
    maps: tuple[PictureMap, ...]


def evidence(reranker: Cascade, queries: Queries, row: int) -> Evidence:
    """Return what speaks for a gallery's image.

    Args:
        reranker: whose gallery it is, and whose stages may vote.
        queries: one; its local descriptors, if it has some, give further maps.
        row: of the gallery.
    """
    scores, boxes = patch_scores(reranker.gallery, queries, row)
    made = [_patch_map(scores, boxes), _correlation(reranker.gallery, queries, row)]
    votes = [_votes(stage.reranker, queries, row) for stage in reranker.stages]
    return Evidence(scores, boxes, tuple(each for each in (*made, *votes) if each is not None))


def patch_scores(gallery: Gallery, queries: Queries, row: int) -> tuple[Floats, Floats]:
    """Return the cosine ``(P,)`` and the box ``(P, 4)`` of each patch of an image."""
    from patchrerank.kernels.rows import row_products
    from patchrerank.kernels.segments import taken

    gallery.check_queries(queries)
    ends = gallery.patch_ends
    own = np.arange(int(ends[row - 1]) if row else 0, int(ends[row]))
    scores = row_products(queries.vectors[0], gallery.patch_store, own)
    if not gallery.has_boxes:
        return scores, np.full((len(own), 4), np.nan, dtype=np.float32)
    return scores, taken(gallery.boxes, own, missing=np.nan)


def _patch_map(scores: Floats, boxes: Floats) -> PictureMap | None:
    from patchrerank.kernels.patch_maps import patch_maps

    if not len(scores) or np.isnan(boxes).any():
        return None
    return PictureMap("patches", patch_maps(scores, boxes, [len(scores)], cells=PATCH_CELLS)[0])


def _correlation(gallery: Gallery, queries: Queries, row: int) -> PictureMap | None:
    """Return the map of dense correlation; None without local descriptors of both."""
    if queries.local is None or not len(queries.local[0]) or not gallery.has_local:
        return None
    try:
        local = gallery.local
        local.check_queries(queries.local)
    except PatchRerankError:  # of another network, or damaged: stages that use them say so
        return None
    found = correlation_map(queries.local[0].vectors, local, row)
    return None if found is None else PictureMap("correlation", found)


def _votes(reranker: Any, queries: Queries, row: int) -> PictureMap | None:
    """Return the map of ELViS' votes; None of other stages, and where nobody votes."""
    inner = getattr(reranker, "reranker", reranker)  # below a refinement of boxes
    if not hasattr(inner, "vote_map") or queries.local is None:
        return None
    try:
        found = inner.vote_map(queries.local[0], row)
    except PatchRerankError:
        return None
    return PictureMap("votes", vote_raster(found))


def vote_raster(votes: VoteMap, cells: int = VOTE_CELLS) -> Floats:
    """Return the strongest vote in each cell of a grid, float32 ``(cells, cells)``; 0: none."""
    grid = np.zeros((cells, cells), dtype=np.float32)
    low = _cell(votes.positions - votes.cells / 2, cells)
    high = np.maximum(_cell(votes.positions + votes.cells / 2, cells), low + 1)
    for (x0, y0), (x1, y1), vote in zip(low, high, votes.votes, strict=True):
        part = grid[y0:y1, x0:x1]
        np.maximum(part, vote, out=part)
    return grid


def _cell(points: npt.NDArray[np.floating], cells: int) -> npt.NDArray[np.int64]:
    return (points.clip(0.0, 1.0) * cells).round().astype(np.int64)
