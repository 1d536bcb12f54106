"""Many fusions on the same lists: what does not depend on λ and γ is done once."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from patchrerank.kernels.threads import parts_of, run_parts
from patchrerank.metrics.lists import Doubles
from patchrerank.tuning.fused._judged import JudgedLists
from patchrerank.tuning.fused._shares import Caps, Ties, pays_of
from patchrerank.tuning.fused._standings import Standings
from patchrerank.types import Floats, Rows

BLOCK = 32
"""Queries counted at a time, so that what they need stays in the processor's cache."""


class Evaluator:
    """Values of checked lists under fusions with certain sizes."""

    def __init__(self, lists: JudgedLists, sizes: Rows) -> None:
        """Take lists, and sizes ``(S,)`` from 0 to K."""
        self.lists = lists
        self.sizes, self._size_of = np.unique(sizes, return_inverse=True)
        heads = self.sizes[self.sizes > 0]
        self._parts = parts_of(len(lists), -(-len(lists) // BLOCK))
        self._blocks = [_Block(lists.take(*part), heads) for part in self._parts]

    def values(self, lams: Doubles, gammas: Doubles, threads: int = 1) -> Doubles:
        """Return the value of every list at every point, float64 ``(S, G, L, Q)``.

        λ = 1 and size 0 are the first stage's order, and so is γ = 0 where scores do not matter
        beside the order; all else is counted, ``threads`` blocks of queries at a time.
        """
        lams, lam_of = np.unique(lams, return_inverse=True)
        gammas, gamma_of = np.unique(gammas, return_inverse=True)
        table = np.empty((len(self.sizes), len(gammas), len(lams), len(self.lists)))
        some = lams[lams < 1]
        slopes = gammas if self.lists.tied else gammas[gammas > 0]
        begin = len(self.sizes) - int((self.sizes > 0).sum())
        target = table[begin:, len(gammas) - len(slopes) :, : len(some)]
        if target.size < table.size:
            table[:] = self._first_stage[:, None, None]
        if target.size:
            self.lists.check_scored(int(self.sizes[-1]))

            def fill(start: int, stop: int, block: _Block) -> None:
                target[..., start:stop] = block.values(some, slopes)

            jobs = [(*part, one) for part, one in zip(self._parts, self._blocks, strict=True)]
            run_parts(threads, fill, jobs)
        return np.asarray(table[np.ix_(self._size_of, gamma_of, lam_of)])

    @cached_property
    def _first_stage(self) -> Doubles:
        """float64 ``(S, Q)``, the values of the first stage's order."""
        if self.lists.tail_pays:
            return np.tile(self.lists.first_stage(0), (len(self.sizes), 1))
        rows = [self.lists.first_stage(int(size)) for size in self.sizes]
        return np.array(rows).reshape(len(self.sizes), len(self.lists))


class _Block:
    """Some lists, counted together."""

    def __init__(self, lists: JudgedLists, sizes: Rows) -> None:
        self.lists, self.sizes = lists, sizes

    def values(self, lams: Doubles, gammas: Doubles) -> Doubles:
        """Return the values ``(S, G, L, Q)``; λ below 1; both ascending and distinct."""
        from patchrerank.kernels.fused_precisions import sum_precisions

        lists = self.lists
        ties = Ties(lists, lams, gammas) if lists.tied else None
        found = self._standings(ties.near, ties.floors) if ties else self._found
        at_zero = found.ranks(found.local, np.zeros(1))
        pays = pays_of(lists, found)
        values = np.empty((len(self.sizes), len(gammas), len(lams), len(lists)))
        sums = np.empty((len(lams), len(self.sizes), len(lists)))
        trapezoidal = lists.convention.interpolation == "trapezoidal"
        for number, gamma in enumerate(gammas):
            sigmoids = found.sigmoids(gamma)
            ranks = found.ranks(sigmoids, lams, None if gamma == 0 else at_zero)
            levels = ties.ends(found, sigmoids, gamma) if ties else ranks
            limits = self._caps.at(lams, gamma)
            sum_precisions(ranks, levels, limits, found.edges, pays, trapezoidal, sums)
            values[:, number] = sums.transpose(1, 0, 2)
        values /= lists.normalisers
        values[..., lists.n_positives == 0] = np.nan
        return values

    def _standings(self, near: float = -1.0, floors: Floats | None = None) -> Standings:
        lists = self.lists
        return Standings.of(lists, lists.counted, lists.relevant, self.sizes, near, floors)

    @cached_property
    def _found(self) -> Standings:
        return self._standings()

    @cached_property
    def _caps(self) -> Caps:
        return Caps(self.lists, self.sizes)
