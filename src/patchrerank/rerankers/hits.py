"""Rankings as lists of hits."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, repeat
from numbers import Integral
from typing import cast

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.gallery import Gallery
from patchrerank.types import EMPTY, Floats, Hit, Ranking, Rows, Status


def hits_of(ranking: Ranking, gallery: Gallery, top_k: int | None = None) -> list[list[Hit]]:
    """Turn a ranking into lists of hits, leaving out empty slots; kept candidates are among them.

    Raises:
        SettingError: ``top_k`` is negative, or no whole number.
    """
    check_top_k(top_k)
    most = ranking.rows.shape[1] if top_k is None else top_k
    lengths = [min(_filled(rows), most) for rows in ranking.rows]
    scores = ranking.hit_scores(max(lengths, default=0))
    others = [ranking.kept(query) is not None for query in range(len(lengths))]
    counts = np.where(others, 0, np.array(lengths, dtype=np.int64))
    queries = np.repeat(np.arange(len(counts)), counts)
    slots = np.arange(len(queries)) - np.repeat(np.cumsum(counts) - counts, counts)
    made = iter(_hits(ranking, queries, slots, scores[queries, slots], slots + 1, gallery))
    return [
        _with_kept(ranking, query, top_k, gallery) if other else list(islice(made, lengths[query]))
        for query, other in enumerate(others)
    ]


def check_top_k(top_k: object) -> None:
    """Refuse a cut that is no count.

    Raises:
        SettingError: not None, and no whole number of at least 0.
    """
    counts = isinstance(top_k, Integral) and not isinstance(top_k, bool)
    if top_k is not None and not (counts and cast(int, top_k) >= 0):
        raise SettingError(f"top_k must be a whole number of at least 0, or None; got {top_k!r}")


def _filled(rows: Rows) -> int:
    """Return how many slots of one query hold a candidate: the others stand at the end."""
    return len(rows) if len(rows) and rows[-1] != EMPTY else int((rows != EMPTY).sum())


def _with_kept(ranking: Ranking, query: int, top_k: int | None, gallery: Gallery) -> list[Hit]:
    """Make the hits of one query that has kept candidates."""
    columns, scores = ranking.listed(query)
    columns, scores = columns[:top_k], scores[:top_k]
    places = np.flatnonzero(columns >= 0)
    where = np.full(len(places), query), columns[places]
    hits = _hits(ranking, *where, scores[places], places + 1, gallery)
    kept, crop = ranking.kept(query), ranking.crops[query] if ranking.crops else "none"
    view = ranking.views[query] if ranking.views else "none"
    assert kept is not None
    for place in np.flatnonzero(columns < 0).tolist():
        number = -1 - int(columns[place])
        first = float(kept.scores[number])
        score, name = float(scores[place]), kept.ids[number]
        hits.insert(place, Hit(name, score, place + 1, first, None, None, crop, None, "kept", view))
    return hits


def _hits(
    ranking: Ranking, queries: Rows, slots: Rows, scores: Floats, ranks: Rows, gallery: Gallery
) -> list[Hit]:
    """Make hits ``(n,)``, each of a query and a slot, column by column."""
    local = [_known(score) for score in ranking.local_scores[queries, slots].tolist()]
    known: Iterable[float | None] = repeat(None)
    if ranking.probabilities is not None:
        known = map(_known, ranking.probabilities[queries, slots].tolist())
    asked = queries.tolist()
    states: Iterable[Status] = map(_status, local)
    if ranking.failed:
        pairs = zip(asked, states, strict=True)
        states = ("fallback" if ranking.failed[query] else state for query, state in pairs)
    columns = (
        gallery.ids.at(ranking.rows[queries, slots]),
        scores.tolist(),
        ranks.tolist(),
        ranking.global_scores[queries, slots].tolist(),
        local,
        map(_box, ranking.boxes[queries, slots].tolist()),
        [ranking.crops[query] for query in asked] if ranking.crops else repeat("none"),
        known,
        states,
        [ranking.views[query] for query in asked] if ranking.views else repeat("none"),
    )
    return list(map(Hit, *columns))


def _status(local: float | None) -> Status:
    return "behind" if local is None else "rescored"


def _known(score: float) -> float | None:
    """Return a score, or None for NaN."""
    return None if score != score else score


def _box(box: list[float]) -> tuple[float, float, float, float] | None:
    x0, y0, x1, y1 = box
    known = x0 == x0 and y0 == y0 and x1 == x1 and y1 == y1
    return (x0, y0, x1, y1) if known else None
