"""What an evaluation costs: time and bytes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from patchrerank.gallery import Gallery
from patchrerank.gallery.stores import PATCH_ARRAYS
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import Ranker, Reranker


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


def bytes_read(cascade: Cascade | None, gallery: Gallery) -> float:
    """Return the bytes an image that are read; what several stages read counts once.

    Args:
        cascade: None: the first stage alone, which reads the global vectors.
        gallery: from which.
    """
    if cascade is None:
        return gallery.nbytes()["globals"] / max(len(gallery), 1)
    kinds = {k: size for stage in cascade.stages for k, size in stage.reranker.bytes_read().items()}
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
        for kind, size_each in stage.reranker.bytes_read().items():
            name = f"{kind}_read"
            read[name] = read.get(name, 0.0) + rescored * size_each
    return {"vector": 4.0 * gallery.dim, **read}
