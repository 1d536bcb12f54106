"""The common request, answered in two compiled calls: one ready vector, one list, best patches.

Whatever is not plain about a request, wrong or only rare, is left to the general way, which finds
the same hits and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery
from patchrerank.hit_scores import falling_scores
from patchrerank.rerankers.given_queries import is_unit
from patchrerank.rerankers.score_scale import COSINES
from patchrerank.search_results import LARGEST
from patchrerank.types import Floats, Hit, Ranking, rank_scores

FLOAT, ROW = np.dtype(np.float32), np.dtype(np.int64)

NO_SCORES: Floats = np.zeros(0, dtype=np.float32)
NO_BOXES: Floats = np.zeros((0, 4), dtype=np.float32)

SAFELY = 1e-6
"""By how much less than ``COSINES`` scores are that nobody is warned of."""


def rescored_alone(
    gallery: Gallery, fusion: Fusion, query: Floats, ranking: Ranking, size: int
) -> Ranking | None:
    """Rescore the head of one query's ranking; None: it is not plain."""
    requests, tables = gallery.patch_requests, ranking.tables
    if requests is None or not all(map(_is_plain, (query, *tables), (FLOAT, ROW, *4 * (FLOAT,)))):
        return None
    rows, scores, global_scores, local_scores, boxes = (table[0] for table in tables)
    before = rows, scores, global_scores, local_scores, boxes
    found = requests.rerank(query, before, len(rows), fusion.lam, fusion.gamma, size)
    return None if found is None else ranking.with_tables(tuple(t[None] for t in found[1]))


def plain_hits(
    gallery: Gallery,
    fusion: Fusion,
    query: object,
    ids: object,
    scores: object,
    top_k: object,
) -> list[Hit] | None:
    """Return what :meth:`Ranker.rank` does of a request that is plain, else None."""
    if not _is_vector(query, gallery.dim) or type(ids) is not list or not ids:
        return None
    first = len(ids) if top_k is None else top_k
    size = fusion.size_of(len(ids))
    if type(first) is not int or first < 1 or not size or gallery.patch_requests is None:
        return None
    given = rank_scores(len(ids)) if scores is None else scores
    limit = LARGEST if fusion.lam == 0 else COSINES - SAFELY
    asked = gallery.read_list(ids, given, limit)
    if asked is None:
        return None
    rows, values = asked
    before = rows, values, values, NO_SCORES, NO_BOXES
    wanted = min(first, len(ids))
    found = gallery.patch_requests.rerank(query, before, wanted, fusion.lam, fusion.gamma, size)
    if found is None:
        return None
    order, (rows, fused, *others), falls = found
    if not falls:
        fused = falling_scores(fused[None], None, len(ids) - len(rows))[0]
    names = [ids[slot] for slot in order.tolist()]
    if not set(map(type, names)) <= {gallery.ids.kind.kind}:
        names = gallery.ids.at(rows)
    return _hits(names, fused, *others)


def _is_vector(query: object, dim: int) -> TypeGuard[Floats]:
    if type(query) is not np.ndarray or query.shape != (dim,):
        return False
    return _is_plain(query, FLOAT) and is_unit(query)


def _is_plain(array: npt.NDArray[Any], dtype: object) -> bool:
    """Tell an array that kernels may read as it is."""
    flags = array.flags
    return array.dtype == dtype and flags.c_contiguous and flags.aligned


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
