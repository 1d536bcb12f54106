"""Rankings as lists of hits."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.gallery import Gallery
from patchrerank.types import EMPTY, Floats, Hit, Ranking


def hits_of(ranking: Ranking, gallery: Gallery, top_k: int | None = None) -> list[list[Hit]]:
    """Turn a ranking into lists of hits, leaving out empty slots.

    Raises:
        SettingError: ``top_k`` is negative, or no whole number.
    """
    if top_k is not None and (not isinstance(top_k, Integral) or top_k < 0):
        raise SettingError(f"top_k must be a whole number of at least 0, or None; got {top_k!r}")
    scores = ranking.hit_scores()
    return [_hits(ranking, scores[query], query, gallery, top_k) for query in range(len(ranking))]


def _hits(
    ranking: Ranking, scores: Floats, query: int, gallery: Gallery, top_k: int | None
) -> list[Hit]:
    rows = ranking.rows[query]
    slots = np.flatnonzero(rows != EMPTY)[:top_k]
    calibrated = None if ranking.probabilities is None else ranking.probabilities[query]
    return [
        Hit(
            id=gallery.ids[rows[slot]],
            score=float(scores[slot]),
            rank=rank,
            global_score=float(ranking.global_scores[query, slot]),
            local_score=_known(ranking.local_scores[query, slot]),
            box=_box(ranking.boxes[query, slot]),
            query_crop=ranking.crops[query] if ranking.crops else "none",
            probability=None if calibrated is None else _known(calibrated[slot]),
        )
        for rank, slot in enumerate(slots, start=1)
    ]


def _known(score: np.float32) -> float | None:
    return None if np.isnan(score) else float(score)


def _box(box: Floats) -> tuple[float, float, float, float] | None:
    if np.isnan(box).any():
        return None
    x0, y0, x1, y1 = (float(value) for value in box)
    return x0, y0, x1, y1
