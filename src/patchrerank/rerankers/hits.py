"""Rankings as lists of hits."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from numbers import Integral

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.gallery import Gallery
from patchrerank.types import EMPTY, Floats, Hit, Ranking, Rows


def hits_of(ranking: Ranking, gallery: Gallery, top_k: int | None = None) -> list[list[Hit]]:
    """Turn a ranking into lists of hits, leaving out empty slots.

    Raises:
        SettingError: ``top_k`` is negative, or no whole number.
    """
    if top_k is not None and (not isinstance(top_k, Integral) or top_k < 0):
        raise SettingError(f"top_k must be a whole number of at least 0, or None; got {top_k!r}")
    slots = [np.flatnonzero(rows != EMPTY)[:top_k] for rows in ranking.rows]
    width = max((int(held[-1]) + 1 for held in slots if len(held)), default=0)
    scores = ranking.hit_scores(width)
    return [
        _hits(ranking, query, held, scores[query, held], gallery)
        for query, held in enumerate(slots)
    ]


def _hits(ranking: Ranking, query: int, slots: Rows, scores: Floats, gallery: Gallery) -> list[Hit]:
    """Make the hits of one query, column by column."""
    known: Iterable[float | None] = repeat(None)
    if ranking.probabilities is not None:
        known = map(_known, ranking.probabilities[query, slots].tolist())
    columns = (
        gallery.ids.at(ranking.rows[query, slots]),
        scores.tolist(),
        range(1, len(slots) + 1),
        ranking.global_scores[query, slots].tolist(),
        map(_known, ranking.local_scores[query, slots].tolist()),
        map(_box, ranking.boxes[query, slots].tolist()),
        repeat(ranking.crops[query] if ranking.crops else "none"),
        known,
    )
    return list(map(Hit, *columns))


def _known(score: float) -> float | None:
    """Return a score, or None for NaN."""
    return None if score != score else score


def _box(box: list[float]) -> tuple[float, float, float, float] | None:
    x0, y0, x1, y1 = box
    known = x0 == x0 and y0 == y0 and x1 == x1 and y1 == y1
    return (x0, y0, x1, y1) if known else None
