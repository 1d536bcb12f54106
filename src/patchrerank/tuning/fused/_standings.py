"""Marked candidates of some lists, ready to be ranked under any fusion by counting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from patchrerank.metrics.lists import Doubles
from patchrerank.tuning.fused.marked_lists import MarkedLists
from patchrerank.types import Floats, Rows

if TYPE_CHECKING:
    from patchrerank.kernels.fused_counts import Lines, Rivals, Scores

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Standings:
    """``M`` marked candidates of ``Q`` lists with everybody whose score can matter, ``U`` in all.

    Attributes:
        lines: the lists.
        edges: int64 ``(Q + 1,)``: list q has the marked candidates ``edges[q] … edges[q + 1]``.
        own: int64 ``(M,)``, the place of each among the U scores.
        rivals: where those begin and end that are counted for each.
        rival: int32 ``(R,)``, their places among the U scores.
        members: int64 ``(U,)``, where those who matter stand in ``lines``.
        first, local: float64 ``(U,)``, their scores.
    """

    lines: Lines
    edges: Rows
    own: Rows
    rivals: Rivals
    rival: Int32
    members: Rows
    first: Doubles
    local: Doubles

    @classmethod
    def of(
        cls,
        lists: MarkedLists,
        sizes: Rows,
        near: float = -1.0,
        floors: Floats | None = None,
    ) -> Standings:
        """Find the rivals of marked candidates.

        Args:
            lists: their scores, the second ones without NaN within the largest head.
            sizes: int64 ``(S,)``, how long each head is, ascending, from 1.
            near, floors: who else may equal them, for :meth:`levels`; see
                :func:`patchrerank.kernels.fused_counts.list_rivals`.
        """
        from patchrerank.kernels.fused_counts import Lines, Rivals, list_rivals

        lines = Lines(lists.first, lists.starts, _bounds(lists, sizes), lists.owner)
        marked, reach = lists.marked, lines.bounds[lists.owner]
        heads = (reach < lists.places[:, None]).sum(axis=1)
        edges = np.empty((len(marked), len(sizes) + 2), dtype=np.int64)
        rivals = Rivals(edges, np.empty(len(marked), dtype=np.int64), lists.places, heads)
        if floors is None:
            floors = np.full(len(marked), np.inf, dtype=np.float32)
        rival = np.empty(int(reach[heads < len(sizes), -1:].sum()), dtype=np.int32)
        rival = rival[: list_rivals(lines, lists.second, near, floors, rival, rivals)]
        members, numbers = _numbered(len(lists.second), rival, marked)
        return cls(
            lines=lines,
            edges=lists.edges,
            own=numbers[marked].astype(np.int64),
            rivals=rivals,
            rival=numbers[rival],
            members=members,
            first=lists.first[members].astype(np.float64),
            local=lists.second[members].astype(np.float64),
        )

    def sigmoids(self, gamma: float) -> Doubles:
        """Return σ(γ · local) of those who matter, float64 ``(U,)``; ½ at γ = 0."""
        if gamma == 0:
            return np.full(len(self.local), 0.5)
        return np.asarray(expit(gamma * self.local))

    def ranks(self, second: Doubles, lams: Doubles, at_zero: Int32 | None = None) -> Int32:
        """Return ranks ``(L, S, M)`` by ``λ · first + (1 - λ) · second``, from 1, ties stable.

        Args:
            second: float64 ``(U,)``.
            lams: float64 ``(L,)``, ascending.
            at_zero: the ranks ``(1, S, M)`` at λ = 0; None: by ``second``, too.
        """
        from patchrerank.kernels.fused_counts import count_ranks

        ranks, begin = self._empty(len(lams)), 0
        if at_zero is not None and lams[0] == 0:
            ranks[:1], begin = at_zero, 1
        count_ranks(self.scores(second), self.rivals, lams[begin:], ranks[begin:])
        return ranks

    def levels(self, second: Doubles, lams: Doubles) -> Int32:
        """Return the last ranks ``(L, S, M)`` with the same score, rounded to float32."""
        from patchrerank.kernels.fused_counts import count_levels

        levels = self._empty(len(lams))
        count_levels(self.scores(second), self.rivals, self.lines, lams, levels)
        return levels

    def level_heads(self, levels: Int32) -> None:
        """Set the levels ``(L, S, M)`` of those in a head to its end: all of it scores ½."""
        from patchrerank.kernels.fused_counts import run_ends

        ends = np.empty_like(self.lines.bounds)
        run_ends(self.lines, np.float32(0.5), ends)
        inside = np.arange(ends.shape[1])[:, None] >= self.rivals.heads
        levels[:, inside] = ends.T[:, self.lines.owner][inside]

    def scores(self, second: Doubles) -> Scores:
        """Return first and second scores of the marked and of their rivals."""
        from patchrerank.kernels.fused_counts import Scores

        own = (self.first[self.own], second[self.own])
        return Scores(*own, self._first_of_rivals, self._of_rivals(second))

    @cached_property
    def _first_of_rivals(self) -> Doubles:
        return self._of_rivals(self.first)

    def _of_rivals(self, values: Doubles) -> Doubles:
        from patchrerank.kernels.fused_counts import gather

        gathered = np.empty(len(self.rival))
        gather(values, self.rival, gathered)
        return gathered

    def _empty(self, count: int) -> Int32:
        return np.empty((count, self.lines.bounds.shape[1], len(self.own)), dtype=np.int32)


def _bounds(lists: MarkedLists, sizes: Rows) -> Rows:
    """Return how many who count lie in each head, int64 ``(Q, S)``."""
    if lists.ends is None:
        return np.tile(sizes, (len(lists.starts) - 1, 1))
    return np.ascontiguousarray(lists.ends[:, sizes - 1] - lists.starts[:-1, None])


def _numbered(count: int, rival: Int32, marked: Rows) -> tuple[Rows, Int32]:
    """Return which of ``count`` positions are used, and the number of each among them."""
    used = np.zeros(count, dtype=np.bool_)
    used[rival] = True
    used[marked] = True
    return np.flatnonzero(used), np.cumsum(used, dtype=np.int32) - np.int32(1)
