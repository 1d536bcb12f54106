"""Average precision of many fusions at once, by counting instead of sorting.

A relevant candidate's rank is one more than the number of candidates that stand above it. So for
each relevant candidate those are counted, and no list is ever sorted: with P relevant candidates
among K this takes P·K comparisons at most, and far fewer in practice, since a candidate that is
behind in both scores is never above.
"""

from __future__ import annotations

import numpy.typing as npt

from patchrerank.kernels.checks import check_threads
from patchrerank.metrics.convention import FULL, APConvention
from patchrerank.metrics.lists import Doubles
from patchrerank.tuning.fused.fusion_counter import FusionCounter
from patchrerank.tuning.fused.grid_checks import check_grid
from patchrerank.tuning.fused.judged_lists import JudgedLists


def fused_average_precisions(
    global_scores: npt.ArrayLike,
    local_scores: npt.ArrayLike,
    relevant: npt.ArrayLike,
    ignored: npt.ArrayLike,
    n_positives: npt.ArrayLike,
    lams: npt.ArrayLike,
    gammas: npt.ArrayLike,
    sizes: npt.ArrayLike,
    convention: APConvention = FULL,
    weights: npt.ArrayLike | None = None,
    threads: int = 1,
    *,
    tail_pays: bool = True,
) -> Doubles:
    """Return the average precision of every list under every fusion of a grid.

    The same as :meth:`patchrerank.fusion.Fusion.apply` followed by
    :func:`patchrerank.metrics.average_precisions` (with the fused scores, where ties are one
    threshold), ties and all, up to the rounding of the last sum.

    Args:
        global_scores: float32 ``(Q, K)``, the first stage's, non-increasing; −inf in empty
            slots, which stand at the end.
        local_scores: float32 ``(Q, K)``, higher is better; −inf: no evidence. Behind the largest
            size, and in empty slots, anything.
        relevant: bool ``(Q, K)``.
        ignored: bool ``(Q, K)``, junk (removed before ranks are counted) or an empty slot; wins
            over ``relevant``.
        n_positives: int ``(Q,)``, positives in the whole gallery; a query with 0 gets NaN.
        lams: float ``(L,)`` in [0, 1].
        gammas: float ``(G,)``, finite and at least 0.
        sizes: int ``(S,)``, at least 0; more than K is K.
        convention: how average precision is computed.
        weights: float ``(Q, K)`` in [0, 1], what each relevant candidate pays: its IoU for
            LocScore, ``IoU >= δ`` for LocScore(δ); NaN pays nothing. None for average precision.
        threads: how many threads share the queries; results do not depend on it.
        tail_pays: False where the weights hold for rescored candidates only (a box that the
            reranker found): candidates behind ``size`` then pay nothing.

    Returns:
        float64 ``(S, G, L, Q)`` in [0, 1], higher is better.

    Raises:
        ShortlistError: an array has the wrong shape, global scores are out of order, or a local
            score that is needed is NaN.
        SettingError: a grid value or weight is out of range, ``n_positives`` is smaller than
            what a list holds, or ``threads`` is no count.
    """
    lists = JudgedLists.of(
        global_scores,
        local_scores,
        relevant,
        ignored,
        n_positives,
        convention,
        weights,
        tail_pays,
    )
    points = check_grid(lams, gammas, sizes, lists.scores.shape[1])
    return FusionCounter(lists, points[2]).values(*points[:2], check_threads(threads))
