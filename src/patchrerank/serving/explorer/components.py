"""The scores that a fusion joins, of each stage, so that they can be joined anew anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patchrerank.errors import QueryError
from patchrerank.fusion import Fusion
from patchrerank.pipeline import Cascade
from patchrerank.rerankers import Reranker
from patchrerank.serving.refusals import own_pictures
from patchrerank.types import Floats, Queries, Ranking, Rows, Shortlist
from patchrerank.types.arrays import nan_table


@dataclass(frozen=True, eq=False)
class StageScores:
    """What one stage found of K candidates, in the first stage's order.

    Attributes:
        scores: float32 ``(K,)``; ``-inf``: no evidence; NaN: not scored.
        boxes: float32 ``(K, 4)``, NaN where nowhere.
        head: int64 ``(n,)``: the candidates that were scored, in the order in which they came in,
            where only these were, or the scores depend on them; None: each was scored by itself.
        failed: why there are no scores; empty: there are.
    """

    scores: Floats
    boxes: Floats
    head: Rows | None = None
    failed: str = ""


def components(
    reranker: Cascade, fusions: Sequence[Fusion], queries: Queries, shortlist: Shortlist
) -> list[StageScores]:
    """Score one query's candidates by each stage.

    A stage whose scores depend on the pair alone, and which is quick, scores all K candidates, so
    that any settings can be tried. Others score what the settings put before them.

    Args:
        reranker: whose stages score.
        fusions: one a stage: how what comes behind it is ordered.
        queries: one.
        shortlist: ``(1, K)``, without empty slots.
    """
    ranking = Ranking.of(shortlist, queries.crops, queries.views)
    places = np.argsort(shortlist.rows[0])
    found = []
    for stage, fusion in zip(reranker.stages, fusions, strict=True):
        slots = places[np.searchsorted(shortlist.rows[0], ranking.rows[0], sorter=places)]
        scored, ranking = _stage(stage.reranker, fusion, queries, ranking, slots)
        found.append(scored)
    return found


def scores_alone(reranker: Reranker) -> bool:
    """Tell whether a stage can score any number of candidates, each by itself, at once."""
    inner = getattr(reranker, "reranker", reranker)  # below a refinement of boxes
    slow = inner.takes_checkpoint or "pictures" in reranker.reads
    return not reranker.list_depth and not slow


def _stage(
    reranker: Reranker, fusion: Fusion, queries: Queries, ranking: Ranking, slots: Rows
) -> tuple[StageScores, Ranking]:
    width = len(slots)
    alone, size = scores_alone(reranker), fusion.size_of(width)
    count = width if alone else size
    scores, boxes = nan_table(width), nan_table(width, 4)
    head = None if alone else slots[:count]
    if not count:
        return StageScores(scores, boxes, head), ranking
    try:
        with own_pictures():
            local = reranker.score(queries, ranking.head(count))
    except QueryError as error:  # words, or a vector, where pictures are compared
        return StageScores(scores, boxes, None, str(error)), ranking
    if local.failed and local.failed[0]:
        return StageScores(scores, boxes, None, local.failed[0]), ranking
    scores[slots[:count]] = local.scores[0]
    if local.boxes is not None:
        boxes[slots[:count]] = local.boxes[0]
    return StageScores(scores, boxes, head), fusion.apply(ranking, local) if size else ranking
