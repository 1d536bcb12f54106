"""Compiled sweep over λ: what the lists are worth between one swap of candidates and the next.

As λ rises, a marked candidate (a positive) and a rival change places once, where their fused
scores are equal: at ``d / (d + e)`` for local scores that lie d apart and first scores that lie e
apart the other way. Between two such swaps no rank changes.

Importing this module imports numba; it is imported by the calls that need it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from patchrerank.kernels.fused_counts import Doubles, Int32, Rivals, Scores
from patchrerank.kernels.jit import compiled, compiled_inside
from patchrerank.types import Rows

RELEVANT = 1
JUNK = 2


class Swaps(NamedTuple):
    """``E`` swaps of a marked candidate with a rival.

    Attributes:
        at: float64 ``(E,)``, λ of the swap, 0 < λ < 1.
        who: int32 ``(E,)``, number of the marked candidate.
        what: int8 ``(E,)``, kind of the rival plus 1; negative where the marked candidate gains
            a rank as λ rises, positive where it loses one.
        size_of: int16 ``(E,)``, the first head that holds both.
    """

    at: Doubles
    who: Int32
    what: npt.NDArray[np.int8]
    size_of: npt.NDArray[np.int16]


class Counting(NamedTuple):
    """How a positive's precision is counted.

    Attributes:
        cutoff: the last place that counts.
        trapezoidal: take the mean with the precision just above each positive.
    """

    cutoff: int
    trapezoidal: bool


@compiled
def list_swaps(scores: Scores, rivals: Rivals, kinds: npt.NDArray[np.int8], swaps: Swaps) -> int:
    """Fill ``swaps`` (in no order), as long as there are rivals; return how many there are.

    ``kinds`` is int8 ``(R,)``: ``RELEVANT``, ``JUNK`` or 0 for each rival.
    """
    count = 0
    for m in range(len(scores.own_first)):
        head = rivals.heads[m]
        for size in range(head - 1, rivals.edges.shape[1] - 2):
            before = size < head
            column = 0 if before else size + 1
            for k in range(rivals.edges[m, column], rivals.edges[m, column + 1]):
                apart = scores.first[k] - scores.own_first[m]
                local = scores.own_second[m] - scores.second[k]
                if not before:
                    apart, local = -apart, -local
                lam = local / (local + apart) if apart > 0.0 and local > 0.0 else 0.0
                if 0.0 < lam < 1.0:
                    swaps.at[count] = lam
                    swaps.who[count] = m
                    swaps.what[count] = kinds[k] + 1 if before else -kinds[k] - 1
                    swaps.size_of[count] = max(size, head)
                    count += 1
    return count


@compiled_inside
def _term(state: Rows, counting: Counting) -> float:
    """Return the precision that a positive is given; see :func:`sweep` for its state."""
    rank, found, place, behind, tied = state[0], state[1], state[2], state[3], state[4]
    if place > counting.cutoff:
        return 0.0
    end = min(rank + behind, counting.cutoff - (place - rank))
    term: float = (found + min(tied, end - rank)) / end
    if counting.trapezoidal:
        before = (found - 1.0) / (rank - 1.0) if rank > 1 else 1.0
        term = (before + term) / 2.0
    return term


@compiled
def sweep(
    swaps: Swaps,
    size: int,
    states: Rows,
    pays: Doubles,
    counting: Counting,
    at: Doubles,
    sums: Doubles,
) -> tuple[float, int]:
    """Swap after swap, follow the sum of what all positives are given.

    Args:
        swaps: all swaps in the order of λ.
        size: swaps beyond this head are left out.
        states: int64 ``(M, 5)``, what holds before the first swap, changed on the way: rank,
            positives up to it, place (with junk), how many equals stand behind, how many
            positives among these.
        pays: float64 ``(M,)``, by what each positive's precision is multiplied.
        counting: by which convention.
        at, sums: float64 ``(E,)``, filled: where the sum changes, and what it is from there on.

    Returns:
        The sum before the first swap, and how many changes were filled.
    """
    terms = np.empty(len(states))
    for m in range(len(states)):
        terms[m] = pays[m] * _term(states[m], counting)
    begin = terms.sum()
    total, count = begin, 0
    for number in range(len(swaps.at)):
        if swaps.size_of[number] > size:
            continue
        m, what = swaps.who[number], swaps.what[number]
        step, kind = (1 if what > 0 else -1), abs(what) - 1
        states[m, 2] += step
        if kind != JUNK:
            states[m, 0] += step
        if kind == RELEVANT:
            states[m, 1] += step
        term = pays[m] * _term(states[m], counting)
        if term != terms[m]:
            total += term - terms[m]
            terms[m] = term
            at[count], sums[count] = swaps.at[number], total
            count += 1
    return begin, count
