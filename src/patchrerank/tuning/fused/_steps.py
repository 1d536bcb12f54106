"""The mean value of some lists as a step function of λ, for one γ and several shortlist sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.metrics.lists import Doubles
from patchrerank.tuning.fused._shares import Ties, pays_of
from patchrerank.tuning.fused._standings import Int32, Standings
from patchrerank.tuning.fused.judged_lists import JudgedLists
from patchrerank.types import Rows

if TYPE_CHECKING:
    from patchrerank.kernels.fused_swaps import Swaps

NEEDLE = 1e-12
"""Intervals no wider than this part of their λ are none: floating-point numbers hardly hit them."""

PROBES = np.array([0.31830988618, 0.57721566490, 0.80901699437])
"""λ where no two scores meet but those that are equal everywhere."""


@dataclass(frozen=True, eq=False)
class Steps:
    """``n`` intervals of (0, 1) from left to right, and the mean value on each.

    Attributes:
        low, high: float64 ``(n,)``, λ; between them there are needles, see ``NEEDLE``.
        values: float64 ``(n,)`` in [0, 1].
        swaps: how many swaps of candidates were looked at.
    """

    low: Doubles
    high: Doubles
    values: Doubles
    swaps: int


class StepFinder:
    """Finds the step function of each size, λ between the ends 0 and 1, which are left out.

    Where ties are one threshold, candidates that are equal at every λ are taken for one; that
    others become equal once rounded to float32, for a moment around each swap, is not seen.
    """

    def __init__(self, lists: JudgedLists, sizes: Rows) -> None:
        """Find the rivals, once for all γ; ``sizes`` are ascending, from 1."""
        from patchrerank.kernels.fused_swaps import Counting

        convention, width = lists.convention, lists.scores.shape[1]
        cutoff = width if convention.cutoff is None else min(convention.cutoff, width)
        self.counting = Counting(cutoff, convention.interpolation == "trapezoidal")
        self.ties = Ties(lists, PROBES, np.empty(0)) if lists.tied else None
        equals = (self.ties.near, self.ties.floors) if self.ties else ()
        self.ranked = Standings.of(lists.positives, sizes, *equals)
        self.placed = self.ranked
        if convention.cut == "places" and cutoff < width:
            self.placed = Standings.of(lists.positives_among_all, sizes)
        kinds = (lists.relevant + 2 * lists.junk).astype(np.int8)
        standing = lists.counted if self.placed is self.ranked else lists.valid
        self.kinds = kinds[standing][self.placed.members][self.placed.rival]
        share = lists.normalisers * max(int(lists.known.sum()), 1)
        self.pays = pays_of(lists, self.ranked) / share[self.ranked.lines.owner]

    def at(self, gamma: float) -> list[Steps]:
        """Return the step function of each size."""
        sigmoids = self.ranked.sigmoids(gamma)
        placed = sigmoids if self.placed is self.ranked else self.placed.sigmoids(gamma)
        swaps = self._swaps(placed)
        zero = np.zeros(1)
        ranks, places = self.ranked.ranks(sigmoids, zero)[0], self.placed.ranks(placed, zero)[0]
        behind, tied = self._equals(sigmoids)
        found = []
        for size, own in enumerate(ranks):
            parts = (own, self._up_to(own, own), places[size], behind[size], tied[size])
            states = np.stack(parts, axis=1).astype(np.int64)
            found.append(self._sweep(swaps, size, states))
        return found

    def _swaps(self, second: Doubles) -> Swaps:
        """Return the swaps in the order of λ."""
        from patchrerank.kernels.fused_swaps import Swaps, list_swaps

        count = len(self.kinds)
        swaps = Swaps(
            at=np.empty(count),
            who=np.empty(count, dtype=np.int32),
            what=np.empty(count, dtype=np.int8),
            size_of=np.empty(count, dtype=np.int16),
        )
        count = list_swaps(self.placed.scores(second), self.placed.rivals, self.kinds, swaps)
        order = np.argsort(swaps.at[:count])
        at, who, what, size_of = swaps
        return Swaps(at[order], who[order], what[order], size_of[order])

    def _sweep(self, swaps: Swaps, size: int, states: Rows) -> Steps:
        from patchrerank.kernels.fused_swaps import sweep

        at, values = np.empty(len(swaps.at) + 2), np.empty(len(swaps.at) + 1)
        how = (self.pays[size], self.counting)
        values[0], count = sweep(swaps, size, states, *how, at[1:-1], values[1:])
        at[0], at[count + 1] = 0.0, 1.0
        low, high = at[: count + 1], at[1 : count + 2]
        kept = high - low > NEEDLE * high
        within = int((swaps.size_of <= size).sum())
        return Steps(low[kept], high[kept], values[: count + 1][kept], within)

    def _equals(self, sigmoids: Doubles) -> tuple[Int32, Int32]:
        """Return how many equals stand behind each positive ``(S, M)``, and positives of these."""
        if self.ties is None:
            nobody = np.zeros(self.pays.shape, dtype=np.int32)
            return nobody, nobody
        ranks = self.ranked.ranks(sigmoids, PROBES)
        levels = self.ranked.levels(sigmoids, PROBES)
        tied = [
            [self._up_to(*pair) - self._up_to(pair[0], pair[0]) for pair in zip(*rows, strict=True)]
            for rows in zip(ranks, levels, strict=True)
        ]
        return (levels - ranks).min(axis=0), np.min(tied, axis=0)

    def _up_to(self, ranks: Int32, limits: Int32) -> Int32:
        """Return how many positives of the same list have a rank of at most the limit, ``(M,)``."""
        owner = self.ranked.lines.owner
        span = owner * (int(limits.max(initial=0)) + int(ranks.max(initial=0)) + 1)
        within = np.searchsorted(np.sort(span + ranks), span + limits, side="right")
        return (within - self.ranked.edges[owner]).astype(np.int32)
