"""Common requests, answered in few compiled calls: ready vectors, plain lists, best patches.

Whatever is not plain about a request, wrong or only rare, is left to the general way, which finds
the same hits and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np

from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery
from patchrerank.hit_scores import falling_scores
from patchrerank.kernels.checks import in_place
from patchrerank.rerankers.given_queries import is_unit
from patchrerank.rerankers.score_scale import COSINES
from patchrerank.search_results import LARGEST
from patchrerank.types import EMPTY, Floats, Hit, Ranking, Rows, rank_scores
from patchrerank.types.arrays import nan_table

if TYPE_CHECKING:
    from patchrerank.kernels.requests import PatchRequests, Places
    from patchrerank.kernels.resorting import Tables

FLOAT, ROW = np.dtype(np.float32), np.dtype(np.int64)

NO_SCORES: Floats = np.zeros(0, dtype=np.float32)
NO_BOXES: Floats = np.zeros((0, 4), dtype=np.float32)

SAFELY = 1e-6
"""By how much less than ``COSINES`` scores are that nobody is warned of."""


def rescored_plainly(
    gallery: Gallery, fusion: Fusion, queries: Floats, ranking: Ranking, size: int
) -> Ranking | None:
    """Rescore the heads of rankings, float32 ``(Q, d)`` queries; None: something is not plain."""
    requests, tables = gallery.patch_requests, ranking.tables
    if requests is None or not all(map(in_place, (queries, *tables), (FLOAT, ROW, *4 * (FLOAT,)))):
        return None
    ahead, how = gallery.rows_ahead, (fusion.lam, fusion.gamma, size)
    mark, width = ahead.begin(tables[0][:, :size]), tables[0].shape[1]
    if len(queries) == 1:
        rows, scores, first, local, boxes = (table[0] for table in tables)
        one = requests.rerank(queries[0], (rows, scores, first, local, boxes), width, *how)
        after = None if one is None else tuple(table[None] for table in one[1])
    else:
        all_places = np.full(len(queries), width)
        several = requests.rerank_all(queries, cast("Tables", tables), all_places, *how)
        after = None if several is None else several[1]
    ahead.end(mark)
    return None if after is None else ranking.with_tables(after)


def plain_answers(
    gallery: Gallery, fusion: Fusion, queries: Sequence[object], lists: Any, scores: Any, top_k: Any
) -> list[list[Hit]] | None:
    """Return what :meth:`Ranker.rank_batch` does of requests that are plain, else None."""
    requests, vectors = gallery.patch_requests, [q for q in queries if _is_vector(q, gallery.dim)]
    if requests is None or not vectors or len(vectors) < len(queries):
        return None
    if top_k is not None and (type(top_k) is not int or top_k < 1):
        return None
    asked = _read(gallery, lists, scores, LARGEST if fusion.lam == 0 else COSINES - SAFELY)
    if asked is None or fusion.shortlist_size == 0:
        return None
    before = [(rows, given, given, NO_SCORES, NO_BOXES) for rows, given in asked]
    ahead = gallery.rows_ahead
    mark = ahead.begin(asked[0][0] if len(asked) == 1 else np.concatenate([r for r, _ in asked]))
    found = _reranked(requests, fusion, vectors, before, top_k)
    ahead.end(mark)
    width = max(len(rows) for rows, _ in asked)
    made = [
        None if places is None else _hits_of(gallery, ids, places, width)
        for ids, places in zip(lists, found, strict=True)
    ]
    return None if None in made else [hits for hits in made if hits is not None]


def _read(
    gallery: Gallery, lists: Any, scores: Any, limit: float
) -> list[tuple[Rows, Floats]] | None:
    """Return rows and scores of each list; None: one is not plain."""
    if scores is None:
        scores = [rank_scores(len(ids)) if type(ids) is list else None for ids in lists]
    if type(scores) not in (list, np.ndarray) or len(scores) != len(lists):
        return None
    found = []
    for ids, given in zip(lists, scores, strict=True):
        part = gallery.read_list(ids, given, limit)
        if part is None:
            return None
        found.append(part)
    return found


def _reranked(
    requests: PatchRequests,
    fusion: Fusion,
    vectors: Sequence[Floats],
    before: Sequence[Tables],
    top_k: int | None,
) -> list[Places | None]:
    """Rescore one list in one call, or several, which share what they read."""
    counts = [len(tables[0]) for tables in before]
    firsts = [count if top_k is None else min(top_k, count) for count in counts]
    how = (fusion.lam, fusion.gamma, fusion.size_of(max(counts)))
    if len(vectors) == 1:
        return [requests.rerank(vectors[0], before[0], firsts[0], *how)]
    found = requests.rerank_all(np.array(vectors), _joined(before), np.array(firsts), *how)
    if found is None:
        return [None] * len(vectors)
    order, after, falls = found
    lists = zip(order, *after, falls.tolist(), firsts, strict=True)
    return [
        (slots[:n], (rows[:n], fused[:n], first[:n], local[:n], boxes[:n]), fall)
        for slots, rows, fused, first, local, boxes, fall, n in lists
    ]


def _joined(lists: Sequence[Tables]) -> Tables:
    """Return lists that nobody has rescored yet as one table, filled up to one width."""
    shape = len(lists), max(len(tables[0]) for tables in lists)
    rows, scores = np.full(shape, EMPTY, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32)
    for number, (own, given, *_) in enumerate(lists):
        rows[number, : len(own)], scores[number, : len(own)] = own, given
    return rows, scores, scores, nan_table(*shape), nan_table(*shape, 4)


def _hits_of(gallery: Gallery, ids: Sequence[Any], places: Places, width: int) -> list[Hit]:
    """Return the hits of a list's first places; ``width`` is the longest list's."""
    order, (rows, fused, *others), falls = places
    if not falls:
        fused = falling_scores(fused[None], None, width - len(rows))[0]
    names = [ids[slot] for slot in order.tolist()]
    if not set(map(type, names)) <= {gallery.ids.kind.kind}:
        names = gallery.ids.at(rows)
    return _hits(names, fused, *others)


def _is_vector(query: object, dim: int) -> TypeGuard[Floats]:
    if type(query) is not np.ndarray or query.shape != (dim,):
        return False
    return in_place(query, FLOAT) and is_unit(query)


def _hits(
    names: Sequence[Any], scores: Floats, first: Floats, local: Floats, boxes: Floats
) -> list[Hit]:
    """Make the hits: a candidate without a local score is behind the cut."""
    columns = (names, scores.tolist(), first.tolist(), local.tolist(), boxes.tolist())
    return [
        Hit(name, score, rank, own, found, (x0, y0, x1, y1) if x0 == x0 else None)
        if found == found
        else Hit(name, score, rank, own, None, None, status="behind")
        for rank, (name, score, own, found, (x0, y0, x1, y1)) in enumerate(
            zip(*columns, strict=True), 1
        )
    ]
