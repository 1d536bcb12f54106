"""What an evaluation costs: time and bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from patchrerank.gallery import Gallery
from patchrerank.gallery.stores import PATCH_ARRAYS
from patchrerank.kernels import RescoredStore
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers.execution import one_torch_thread
from patchrerank.types import Queries, Shortlist

TIMED_CANDIDATES = 100
TIMED_QUERIES = 20


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
            unread = _unread(gallery, rescored) if kind == "patches" else 0.0
            read[name] = read.get(name, 0.0) + rescored * size_each - unread
    return {"vector": 4.0 * gallery.dim, **read}


def _unread(gallery: Gallery, candidates: int) -> float:
    """Return the bytes of candidates' patches that are left alone where there are two of each."""
    store = gallery.patch_store
    if not isinstance(store, RescoredStore):
        return 0.0
    each = len(store) / max(len(gallery), 1)
    if store.rescore >= candidates:
        return candidates * each * store.codes.bytes_per_row
    return (candidates - store.rescore) * each * store.exact.bytes_per_row


def warm_up(cascade: Cascade, queries: Queries, shortlist: Shortlist) -> None:
    """Let kernels compile before anything is timed.

    Some compile for one query alone, others when queries share a candidate.
    """
    for count in (1, 2):
        same = [0] * count
        few = Shortlist(shortlist.rows[same, :2], shortlist.scores[same, :2])
        cascade.rerank(queries.take(same), few)


def one_by_one_ms(cascade: Cascade, queries: Queries, shortlist: Shortlist) -> float:
    """Return the median milliseconds of 100 candidates, queries one by one, on one thread."""
    most, rows, scores = TIMED_CANDIDATES, shortlist.rows, shortlist.scores
    asked = [
        (queries.take([number]), Shortlist(rows[[number], :most], scores[[number], :most]))
        for number in range(min(len(queries), TIMED_QUERIES))
    ]
    with one_torch_thread():
        return median_ms(lambda number: cascade.rerank(*asked[number]), len(asked))


def median_ms(call: Callable[[int], object], count: int) -> float:
    """Return the median milliseconds of calls with 0, 1, …; NaN of none."""
    times = []
    for number in range(count):
        clock = Clock()
        call(number)
        times.append(clock.lap(1))
    return float(np.median(times)) if times else float("nan")
