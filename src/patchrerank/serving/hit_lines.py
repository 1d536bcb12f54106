"""Hits as JSON, column by column: what a ranking says of each, without an object for any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchrerank.calibration import Calibration
from patchrerank.gallery import Gallery
from patchrerank.rerankers.hits import hits_of
from patchrerank.serving.json_bodies import number_texts, text_of
from patchrerank.types import EMPTY, Floats, Hit, Ranking


@dataclass(frozen=True)
class Lines:
    """One query's hits, best first.

    Attributes:
        ids: of the hits.
        scores: theirs, as JSON.
        lines: all their fields as JSON, in their order, without braces; numbers are the shortest
            that float32 is told by.
        fallback: whether local evidence had no part in the order, or not all that it should have.
        nothing: whether the list holds, probably, nothing relevant; None where nobody can say.
    """

    ids: list[Any]
    scores: list[str]
    lines: list[str]
    fallback: bool
    nothing: bool | None = None


def lines_of(
    ranking: Ranking,
    gallery: Gallery,
    tops: Sequence[int | None],
    calibration: Calibration | None = None,
) -> list[Lines]:
    """Return the hits of each query of a ranking.

    Args:
        ranking: of Q queries.
        gallery: whose ids they have.
        tops: how many of each query's are wanted; None: all.
        calibration: of the ranking's probabilities; None: it has none.
    """
    if any(ranking.kept(query) is not None for query in range(len(ranking))):
        lists = hits_of(ranking, gallery, None)
        return [_of_hits(hits[:top], calibration) for hits, top in zip(lists, tops, strict=True)]
    filled = (ranking.rows != EMPTY).sum(axis=1).tolist()
    counts = [
        most if top is None else min(most, top) for most, top in zip(filled, tops, strict=True)
    ]
    scores = ranking.hit_scores(max(counts, default=0))
    return [
        _lines(ranking, query, scores[query, :n], gallery, calibration)
        for query, n in enumerate(counts)
    ]


def _lines(
    ranking: Ranking,
    query: int,
    scores: Floats,
    gallery: Gallery,
    calibration: Calibration | None,
) -> Lines:
    count = len(scores)
    head = (query, slice(count))
    ids, local = gallery.ids.at(ranking.rows[head]), ranking.local_scores[head]
    failed = bool(ranking.failed and ranking.failed[query])
    told, probable = number_texts(scores), ranking.probabilities
    states = np.where(np.isnan(local), "behind", "rescored").tolist()
    crop = ranking.crops[query] if ranking.crops else "none"
    view = ranking.views[query] if ranking.views else "none"
    columns = (
        map(text_of, ids),
        told,
        range(1, count + 1),
        number_texts(ranking.global_scores[head]),
        number_texts(local),
        _box_texts(ranking.boxes[head]),
        ["null"] * count if probable is None else number_texts(probable[head]),
        ["fallback"] * count if failed else states,
    )
    lines = [
        f'"id":{item},"score":{score},"rank":{rank},"global_score":{first},"local_score":{second},'
        f'"box":{box},"query_crop":"{crop}","probability":{chance},"status":"{state}",'
        f'"query_views":"{view}"'
        for item, score, rank, first, second, box, chance, state in zip(*columns, strict=True)
    ]
    nothing = None
    if calibration is not None and probable is not None:
        nothing = calibration.finds_nothing(scores, probable[head])
    return Lines(ids, told, lines, failed, nothing)


def _box_texts(boxes: Floats) -> list[str]:
    """Return boxes ``(n, 4)`` as JSON, null where there is none."""
    sides = number_texts(boxes.reshape(-1))
    quads = zip(sides[::4], sides[1::4], sides[2::4], sides[3::4], strict=True)
    found = [f"[{x0},{y0},{x1},{y1}]" for x0, y0, x1, y1 in quads]
    for row in np.flatnonzero(np.isnan(boxes).any(axis=1)).tolist():
        found[row] = "null"
    return found


def _of_hits(hits: Sequence[Hit], calibration: Calibration | None) -> Lines:
    """Return hits among which some stand that no gallery holds."""
    scores, nothing = [hit.score for hit in hits], None
    if calibration is not None:
        nothing = calibration.finds_nothing(scores, [hit.probability for hit in hits])
    return Lines(
        [hit.id for hit in hits],
        [text_of(score) for score in scores],
        [text_of(hit.__dict__)[1:-1] for hit in hits],
        any(hit.status == "fallback" for hit in hits),
        nothing,
    )
