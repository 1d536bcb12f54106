"""Compiled sums of precisions: from the ranks of positives to average precision.

Importing this module imports numba; it is imported by the calls that need it.
"""

from __future__ import annotations

import numpy as np

from patchrerank.kernels.fused_counts import Doubles, Int32
from patchrerank.kernels.jit import compiled
from patchrerank.types import Rows


@compiled
def count_within(ranks: Int32, edges: Rows, limit: int, counts: Rows) -> None:
    """Fill counts ``(L, S, Q)``: marked candidates of each list within the first ``limit`` ranks.

    List q has those from ``edges[q]`` to ``edges[q + 1]``; ``ranks`` is ``(L, S, M)``.
    """
    for k in range(counts.shape[0]):
        for size in range(counts.shape[1]):
            for query in range(counts.shape[2]):
                own = ranks[k, size, edges[query] : edges[query + 1]]
                counts[k, size, query] = (own <= limit).sum()


@compiled
def sum_precisions(
    ranks: Int32,
    levels: Int32,
    caps: Rows,
    edges: Rows,
    pays: Doubles,
    trapezoidal: bool,
    sums: Doubles,
) -> None:
    """Fill sums ``(L, S, Q)``: what the positives of each list add up to.

    Args:
        ranks: int32 ``(L, S, M)``, ranks of the positives.
        levels: int32 ``(L, S, M)``, the rank whose precision each is given: ``ranks`` itself, or
            the ends of ties.
        caps: int64 ``(L, S, Q)``, the last rank that counts.
        edges: int64 ``(Q + 1,)``, list q has the positives ``edges[q] … edges[q + 1]``.
        pays: float64 ``(S, M)``, by what each positive's precision is multiplied.
        trapezoidal: take the mean with the precision just above each positive.
        sums: float64 ``(L, S, Q)``, filled.
    """
    order = np.empty(ranks.shape[2], dtype=np.int64)
    sorted_ranks = np.empty(ranks.shape[2], dtype=np.int64)
    for k in range(sums.shape[0]):
        for size in range(sums.shape[1]):
            for query in range(sums.shape[2]):
                begin, count = edges[query], edges[query + 1] - edges[query]
                for m in range(count):  # they nearly are in the order of ranks already
                    rank, place = ranks[k, size, begin + m], m
                    while place > 0 and sorted_ranks[place - 1] > rank:
                        sorted_ranks[place] = sorted_ranks[place - 1]
                        order[place] = order[place - 1]
                        place -= 1
                    sorted_ranks[place], order[place] = rank, begin + m
                total, cap = 0.0, caps[k, size, query]
                for place in range(count):
                    if sorted_ranks[place] > cap:
                        break
                    end, found = min(np.int64(levels[k, size, order[place]]), cap), place + 1
                    while found < count and sorted_ranks[found] <= end:
                        found += 1
                    term = found / end
                    if trapezoidal:
                        before = (found - 1) / (end - 1) if end > 1 else 1.0
                        term = (before + term) / 2.0
                    total += pays[size, order[place]] * term
                sums[k, size, query] = total
