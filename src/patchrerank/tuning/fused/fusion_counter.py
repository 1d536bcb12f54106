"""Many fusions on the same lists: what does not depend on λ and γ is done once."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.kernels.threads import run_parts
from patchrerank.metrics.lists import Doubles
from patchrerank.tuning.fused._shares import Caps, Ties, pays_of
from patchrerank.tuning.fused._standings import Int32, Standings
from patchrerank.tuning.fused.judged_lists import JudgedLists
from patchrerank.types import Rows


class FusionCounter:
    """Values of checked lists under fusions with certain sizes."""

    def __init__(self, lists: JudgedLists, sizes: Rows) -> None:
        """Take lists, and sizes ``(S,)`` from 0 to K."""
        self.lists, self._queries = lists, len(lists.known)
        self.sizes, self._size_of = np.unique(sizes, return_inverse=True)
        heads = self.sizes[self.sizes > 0]
        self._blocks = [(start, stop, _Block(one, heads)) for start, stop, one in lists.blocks]

    def values(self, lams: Doubles, gammas: Doubles, threads: int = 1) -> Doubles:
        """Return the value of every list at every point, float64 ``(S, G, L, Q)``.

        λ = 1 and size 0 are the first stage's order, and so is γ = 0 where scores do not matter
        beside the order; all else is counted, ``threads`` blocks of queries at a time.
        """
        lams, lam_of = np.unique(lams, return_inverse=True)
        gammas, gamma_of = np.unique(gammas, return_inverse=True)
        table = np.empty((len(self.sizes), len(gammas), len(lams), self._queries))
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

            run_parts(threads, fill, self._blocks)
        return np.asarray(table[np.ix_(self._size_of, gamma_of, lam_of)])

    def means(self, lams: Doubles, gammas: Doubles, threads: int = 1) -> Doubles:
        """Return the mean values ``(S, G, L)`` over the queries that have positives.

        Raises:
            SettingError: there are none.
        """
        if not self.lists.known.any():
            raise SettingError("no query has positives, so no λ is better than another")
        values = self.values(lams, gammas, threads)[..., self.lists.known]
        return np.asarray(np.ascontiguousarray(values).mean(axis=-1))

    @cached_property
    def _first_stage(self) -> Doubles:
        """float64 ``(S, Q)``, the values of the first stage's order."""
        if self.lists.tail_pays:
            return np.tile(self.lists.first_stage, (len(self.sizes), 1))
        rows = [self.lists.first_stage_within(int(size)) for size in self.sizes]
        return np.array(rows).reshape(len(self.sizes), self._queries)


class _Block:
    """Some lists, counted together."""

    def __init__(self, lists: JudgedLists, sizes: Rows) -> None:
        self.lists, self.sizes = lists, sizes

    def values(self, lams: Doubles, gammas: Doubles) -> Doubles:
        """Return the values ``(S, G, L, Q)``; λ below 1; both ascending and distinct."""
        from patchrerank.kernels.fused_precisions import sum_precisions

        lists = self.lists
        ties = Ties(lists, lams, gammas) if lists.tied else None
        found, at_zero, pays = self._tied(ties) if ties else self._untied
        values = np.empty((len(self.sizes), len(gammas), len(lams), len(lists.known)))
        sums = np.empty((len(lams), len(self.sizes), len(lists.known)))
        trapezoidal = lists.convention.interpolation == "trapezoidal"
        for number, gamma in enumerate(gammas):
            sigmoids = found.sigmoids(gamma)
            ranks = found.ranks(sigmoids, lams, None if gamma == 0 else at_zero)
            levels = ties.ends(found, sigmoids, gamma) if ties else ranks
            limits = self._caps.at(lams, gamma)
            sum_precisions(ranks, levels, limits, found.edges, pays, trapezoidal, sums)
            values[:, number] = sums.transpose(1, 0, 2)
        values /= lists.normalisers
        values[..., ~lists.known] = np.nan
        return values

    @cached_property
    def _untied(self) -> tuple[Standings, Int32, Doubles]:
        return self._prepared(Standings.of(self.lists.positives, self.sizes))

    def _tied(self, ties: Ties) -> tuple[Standings, Int32, Doubles]:
        return self._prepared(
            Standings.of(self.lists.positives, self.sizes, ties.near, ties.floors)
        )

    def _prepared(self, found: Standings) -> tuple[Standings, Int32, Doubles]:
        """Return the positives, their ranks by the local score alone, and what each pays."""
        return found, found.ranks(found.local, np.zeros(1)), pays_of(self.lists, found)

    @cached_property
    def _caps(self) -> Caps:
        return Caps(self.lists, self.sizes)
