"""What an evaluation costs: time and bytes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import nan
from pathlib import Path

from patchrerank.gallery import Gallery
from patchrerank.gallery.stores import PATCH_ARRAYS
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import (
    Patchify,
    QueryExpansion,
    Ranker,
    RefineBoxes,
    Reranker,
    SpatialVerification,
    SuperGlobal,
)
from patchrerank.rerankers._local import LocalReranker


class Clock:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self, count: int) -> float:
        """Return the milliseconds since the last lap, divided by ``count``."""
        now = time.perf_counter()
        elapsed, self._last = now - self._last, now
        return 1000 * elapsed / max(count, 1)


def bytes_per_image(gallery: Gallery) -> dict[str, float]:
    """Return the bytes an image takes: its patch vectors, and everything."""
    sizes = gallery.nbytes()
    images = max(len(gallery), 1)
    patches = sum(size for name, size in sizes.items() if name in PATCH_ARRAYS)
    return {"patches": patches / images, "all": sum(sizes.values()) / images}


def reads_of(reranker: Reranker) -> dict[str, float]:
    """Return the bytes an image that a reranker reads of its gallery, by what is read.

    Kinds are ``patches``, ``local``, ``globals`` and ``pictures`` (the files, looked at again;
    NaN if they are not files). Nothing for rerankers that this library does not know.
    """
    images = max(len(reranker.gallery), 1)
    return {kind: _bytes_of(kind, reranker) / images for kind in sorted(_kinds(reranker))}


def bytes_read(cascade: Cascade | None, gallery: Gallery) -> float:
    """Return the bytes an image that are read; what several stages read counts once.

    Args:
        cascade: None: the first stage alone, which reads the global vectors.
        gallery: from which.
    """
    if cascade is None:
        return gallery.nbytes()["globals"] / max(len(gallery), 1)
    kinds = {k: size for stage in cascade.stages for k, size in reads_of(stage.reranker).items()}
    return sum(kinds.values())


def stages_of(ranker: Ranker) -> Sequence[Stage]:
    """Return the stages of a cascade, or a reranker as the only one."""
    if isinstance(ranker, Cascade):
        return ranker.stages
    return [Stage(ranker, ranker.fusion)] if isinstance(ranker, Reranker) else []


def bytes_per_query(stages: Sequence[Stage], gallery: Gallery, candidates: int) -> dict[str, float]:
    """Return the bytes of a query's vector, and what is read to rescore its candidates.

    Args:
        stages: a candidate that two of them rescore is read twice.
        gallery: from which.
        candidates: of the first stage.
    """
    read: dict[str, float] = {}
    for stage in stages:
        size = stage.fusion.shortlist_size
        rescored = candidates if size is None else min(size, candidates)
        for kind, size_each in reads_of(stage.reranker).items():
            name = f"{kind}_read"
            read[name] = read.get(name, 0.0) + rescored * size_each
    return {"vector": 4.0 * gallery.dim, **read}


def _kinds(reranker: Reranker) -> set[str]:
    if isinstance(reranker, RefineBoxes):
        patches = reranker.evidence == "patches" or not reranker.gallery.has_local
        return _kinds(reranker.reranker) | {"patches" if patches else "local"}
    if isinstance(reranker, Patchify):
        return {"patches"}
    if isinstance(reranker, LocalReranker):
        return {"local"}
    if isinstance(reranker, SpatialVerification):
        return {"pictures"}
    return {"globals"} if isinstance(reranker, QueryExpansion | SuperGlobal) else set()


def _bytes_of(kind: str, reranker: Reranker) -> float:
    gallery = reranker.gallery
    sizes = gallery.nbytes()
    if kind == "patches":
        return sum(size for name, size in sizes.items() if name in PATCH_ARRAYS)
    if kind == "local":
        local = reranker.local if isinstance(reranker, LocalReranker) else gallery.local
        return sum(local.nbytes().values())
    if kind == "globals":
        return sizes["globals"]
    if isinstance(reranker, SpatialVerification):
        given = reranker.images or {}
        rows = enumerate(gallery.ids)
        return sum(_file_size(given.get(name, gallery.image_path(row))) for row, name in rows)
    return nan


def _file_size(source: object) -> float:
    if isinstance(source, str | Path) and Path(source).is_file():
        return Path(source).stat().st_size
    return nan
