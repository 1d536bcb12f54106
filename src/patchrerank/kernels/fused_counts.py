"""Compiled counting: at which rank a fusion puts a candidate, without sorting the list.

A few *marked* candidates of each list are ranked among all others. Lists come best first by
``first`` (global scores, non-increasing), so of two candidates the earlier one has at least as
high a first score; where it has at least as high a second (local) score too, it stays ahead in
every fusion. Only the *rivals* of a marked candidate have to be looked at: those before it with a
lower second score, and those behind it with a higher one.

Importing this module imports numba; it is imported by the calls that need it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from patchrerank.kernels.jit import compiled, compiled_inside
from patchrerank.types import Floats, Rows

Doubles = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]


class Lines(NamedTuple):
    """``Q`` lists of ``N`` candidates in all, and whose the ``M`` marked ones are.

    Attributes:
        first: float32 ``(N,)`` first scores, one list after another.
        starts: int64 ``(Q + 1,)``, where each list begins.
        bounds: int64 ``(Q, S)``, candidates of each list that lie in each head, ascending.
        owner: int64 ``(M,)``, the list of each marked candidate.
    """

    first: Floats
    starts: Rows
    bounds: Rows
    owner: Rows


class Scores(NamedTuple):
    """Float64 scores: of the marked candidates ``(M,)``, and of their rivals ``(R,)``."""

    own_first: Doubles
    own_second: Doubles
    first: Doubles
    second: Doubles


class Rivals(NamedTuple):
    """Who is counted for each marked candidate.

    Attributes:
        edges: int64 ``(M, S + 2)``: candidate m has the rivals ``edges[m, 0] … edges[m, 1]``
            before it, and ``edges[m, 1 + s] … edges[m, 2 + s]`` behind it, within head s but no
            smaller one. None where it lies in no head.
        ahead: int64 ``(M,)``, how many stay ahead of it in every fusion.
        places: int64 ``(M,)``, ranks in the first stage's order, from 1.
        heads: int64 ``(M,)``, the first head that holds it; S if none does.
    """

    edges: Rows
    ahead: Rows
    places: Rows
    heads: Rows


@compiled
def list_rivals(
    lines: Lines, second: Floats, near: float, floors: Floats, rivals: Int32, found: Rivals
) -> int:
    """List the rivals of each marked candidate; return how many there are in all.

    Args:
        lines: the lists.
        second: float32 ``(N,)`` local scores.
        near: take those behind whose first score is lower by at most this for rivals too (they
            may turn out as equals); negative: do not.
        floors: float32 ``(M,)``: likewise those behind whose second score is at least this.
        rivals: int32, filled with positions in ``second``; long enough for everybody.
        found: ``edges`` and ``ahead`` are filled, ``places`` and ``heads`` are read.
    """
    count, sizes = 0, lines.bounds.shape[1]
    for m in range(len(floors)):
        begin = lines.starts[lines.owner[m]]
        place = begin + found.places[m] - 1
        found.edges[m] = count
        found.ahead[m] = place - begin
        if found.heads[m] == sizes:
            continue
        own, own_first = second[place], np.float64(lines.first[place])
        for other in range(begin, place):
            rivals[count] = other
            count += second[other] < own
        found.ahead[m] -= count - found.edges[m, 0]
        found.edges[m, 1] = count
        low = place + 1
        for size in range(sizes):
            reach = begin + lines.bounds[lines.owner[m], size]
            if near < 0 and floors[m] > own:
                for other in range(low, reach):
                    rivals[count] = other
                    count += second[other] > own
            else:
                for other in range(low, reach):
                    rivals[count] = other
                    equal = own_first - np.float64(lines.first[other]) <= near
                    count += equal | (second[other] > own) | (second[other] >= floors[m])
            low = max(low, reach)
            found.edges[m, size + 2] = count
    return count


@compiled
def gather(values: Doubles, places: Int32, gathered: Doubles) -> None:
    """Write ``values[places]`` to ``gathered``."""
    for k in range(len(places)):
        gathered[k] = values[places[k]]


@compiled_inside
def _reach_or_pass(first: Doubles, second: Doubles, lam: float, value: float) -> int:
    """Count those whose fused score is at least ``value``."""
    count, rest = 0, 1.0 - lam
    for k in range(len(first)):
        count += lam * first[k] + rest * second[k] >= value
    return count


@compiled_inside
def _pass(first: Doubles, second: Doubles, lam: float, value: float) -> int:
    """Count those whose fused score is higher than ``value``."""
    count, rest = 0, 1.0 - lam
    for k in range(len(first)):
        count += lam * first[k] + rest * second[k] > value
    return count


@compiled_inside
def _reach_rounded(first: Doubles, second: Doubles, lam: float, value: np.float32) -> int:
    """Count those whose fused score, rounded to float32, is at least ``value``."""
    count, rest = 0, 1.0 - lam
    for k in range(len(first)):
        count += bool(np.float32(lam * first[k] + rest * second[k]) >= value)
    return count


@compiled
def count_ranks(scores: Scores, rivals: Rivals, lams: Doubles, ranks: Int32) -> None:
    """Fill ranks ``(L, S, M)``, from 1, of the marked candidates when head s is re-sorted by λ.

    The order is by ``λ · first + (1 - λ) · second``, of equals the earlier one first; no
    arithmetic but this is done, in float64.
    """
    values, counts = np.empty(len(lams)), np.empty(len(lams), dtype=np.int64)
    for m in range(len(scores.own_first)):
        a, b, head = rivals.edges[m, 0], rivals.edges[m, 1], rivals.heads[m]
        first, second = scores.first[a:b], scores.second[a:b]
        for k in range(len(lams)):
            ranks[k, :head, m] = rivals.places[m]
            lam = lams[k]
            values[k] = lam * scores.own_first[m] + (1.0 - lam) * scores.own_second[m]
            counts[k] = rivals.ahead[m] + _reach_or_pass(first, second, lam, values[k])
        for size in range(head, ranks.shape[1]):
            a, b = rivals.edges[m, size + 1], rivals.edges[m, size + 2]
            first, second = scores.first[a:b], scores.second[a:b]
            for k in range(len(lams)):
                counts[k] += _pass(first, second, lams[k], values[k])
                ranks[k, size, m] = counts[k] + 1


@compiled_inside
def _run_length(line: Floats, value: np.float32) -> int:
    """Return how many candidates equal ``value`` before the first that does not."""
    length = 0
    while length < len(line) and line[length] == value:
        length += 1
    return length


@compiled
def count_levels(
    scores: Scores, rivals: Rivals, lines: Lines, lams: Doubles, levels: Int32
) -> None:
    """Fill levels ``(L, S, M)``: the last rank that holds the same score, rounded to float32.

    The rivals have to hold all that may be equals. Candidates behind head s have their first
    score, and a run of equal scores may go on there.
    """
    values, counts = np.empty(len(lams), np.float32), np.empty(len(lams), dtype=np.int64)
    for m in range(len(scores.own_first)):
        owner, head = lines.owner[m], rivals.heads[m]
        line = lines.first[lines.starts[owner] : lines.starts[owner + 1]]
        place = rivals.places[m]
        behind = place + _run_length(line[place:], line[place - 1])
        a, b = rivals.edges[m, 0], rivals.edges[m, 1]
        first, second = scores.first[a:b], scores.second[a:b]
        for k in range(len(lams)):
            levels[k, :head, m] = behind
            lam = lams[k]
            values[k] = lam * scores.own_first[m] + (1.0 - lam) * scores.own_second[m]
            counts[k] = rivals.ahead[m] + _reach_rounded(first, second, lam, values[k])
        for size in range(head, levels.shape[1]):
            a, b = rivals.edges[m, size + 1], rivals.edges[m, size + 2]
            first, second = scores.first[a:b], scores.second[a:b]
            bound = lines.bounds[owner, size]
            for k in range(len(lams)):
                counts[k] += _reach_rounded(first, second, lams[k], values[k])
                whole = counts[k] + 1 == bound
                more = _run_length(line[bound:], values[k]) if whole else 0
                levels[k, size, m] = counts[k] + 1 + more


@compiled
def run_ends(lines: Lines, value: np.float32, ends: Rows) -> None:
    """Fill ends ``(Q, S)``: each head's length, with those right behind it equal to ``value``."""
    for query in range(len(ends)):
        line = lines.first[lines.starts[query] : lines.starts[query + 1]]
        for size in range(ends.shape[1]):
            bound = lines.bounds[query, size]
            ends[query, size] = bound + _run_length(line[bound:], value)
