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
from patchrerank.serving.sent_places import places_of
from patchrerank.types import EMPTY, Floats, Hit, Ranking, Rows


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
        places: where each stood in what the client sent; None: that was not looked at.
    """

    ids: list[Any]
    scores: list[str]
    lines: list[str]
    fallback: bool
    nothing: bool | None = None
    places: list[int] | None = None


def lines_of(
    ranking: Ranking,
    gallery: Gallery,
    tops: Sequence[int | None],
    calibration: Calibration | None = None,
    sent: Sequence[Rows | None] = (),
) -> list[Lines]:
    """Return the hits of each query of a ranking.

    Args:
        ranking: of Q queries.
        gallery: whose ids they have.
        tops: how many of each query's are wanted; None: all.
        calibration: of the ranking's probabilities; None: it has none.
        sent: the rows of each query's documents in the order that its client sent, each once, to
            say where hits stood; None, and ``()`` for all: they are looked for by their ids.
    """
    if any(ranking.kept(query) is not None for query in range(len(ranking))):
        lists = hits_of(ranking, gallery, None)
        return [_of_hits(hits, top, calibration) for hits, top in zip(lists, tops, strict=True)]
    most = ranking.rows.shape[1]
    wanted = [most if top is None else min(most, top) for top in tops]
    filled = (ranking.rows != EMPTY).sum(axis=1)
    counts = np.minimum(filled, wanted)
    return _lines(ranking, filled, counts, gallery, calibration, sent or (None,) * len(tops))


def _lines(
    ranking: Ranking,
    filled: Rows,
    counts: Rows,
    gallery: Gallery,
    calibration: Calibration | None,
    sent: Sequence[Rows | None],
) -> list[Lines]:
    """Write the first places of all lists at once, so many of each, and cut them apart."""
    looked_at = np.minimum(filled, np.maximum(counts, 1)).tolist()  # the best, even of none wanted
    width = max(looked_at, default=0)
    head = np.arange(width) < counts[:, None]
    first, local = (
        table[:, :width][head] for table in (ranking.global_scores, ranking.local_scores)
    )
    scores, chances = ranking.hit_scores(width), ranking.probabilities
    ids, told = gallery.ids.at(ranking.rows[:, :width][head]), number_texts(scores[head])
    queries, places = head.nonzero()
    columns = (
        map(text_of, ids),
        told,
        (places + 1).tolist(),
        number_texts(first),
        number_texts(local),
        _box_texts(ranking.boxes[:, :width][head]),
        ["null"] * len(ids) if chances is None else number_texts(chances[:, :width][head]),
        np.isnan(local).tolist(),
        queries.tolist(),
    )
    crops, views = (
        ranking.crops or ("none",) * len(counts),
        ranking.views or ("none",) * len(counts),
    )
    failed = [bool(why) for why in ranking.failed or ("",) * len(counts)]
    states = [["fallback" if fell else how for fell in failed] for how in ("rescored", "behind")]
    lines = [
        f'"id":{item},"score":{score},"rank":{rank},"global_score":{one},"local_score":{other},'
        f'"box":{box},"query_crop":"{crops[query]}","probability":{chance},'
        f'"status":"{states[behind][query]}","query_views":"{views[query]}"'
        for item, score, rank, one, other, box, chance, behind, query in zip(*columns, strict=True)
    ]
    ends = np.cumsum(counts).tolist()
    found = []
    for query, (count, end) in enumerate(zip(counts.tolist(), ends, strict=True)):
        own, nothing = slice(end - count, end), None
        if calibration is not None and chances is not None:
            seen = query, slice(looked_at[query])
            nothing = calibration.finds_nothing(scores[seen], chances[seen])
        mine = sent[query]
        stood = None if mine is None else places_of(ranking.rows[query, :count], mine)
        found.append(Lines(ids[own], told[own], lines[own], failed[query], nothing, stood))
    return found


def _box_texts(boxes: Floats) -> list[str]:
    """Return boxes ``(n, 4)`` as JSON, null where there is none."""
    sides = number_texts(boxes.reshape(-1))
    quads = zip(sides[::4], sides[1::4], sides[2::4], sides[3::4], strict=True)
    found = [f"[{x0},{y0},{x1},{y1}]" for x0, y0, x1, y1 in quads]
    for row in np.flatnonzero(np.isnan(boxes).any(axis=1)).tolist():
        found[row] = "null"
    return found


def _of_hits(hits: Sequence[Hit], top: int | None, calibration: Calibration | None) -> Lines:
    """Return the first of hits among which some stand that no gallery holds."""
    nothing = None
    if calibration is not None:
        scores = [hit.score for hit in hits]
        nothing = calibration.finds_nothing(scores, [hit.probability for hit in hits])
    hits = hits[:top]
    return Lines(
        [hit.id for hit in hits],
        [text_of(hit.score) for hit in hits],
        [text_of(hit.__dict__)[1:-1] for hit in hits],
        any(hit.status == "fallback" for hit in hits),
        nothing,
    )
