"""What each positive adds by an AP convention: ends of ties, the last rank that counts, weights."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from patchrerank.metrics.lists import Doubles
from patchrerank.tuning.fused._standings import Int32, Standings
from patchrerank.tuning.fused.judged_lists import JudgedLists
from patchrerank.types import Rows


def pays_of(lists: JudgedLists, found: Standings) -> Doubles:
    """Return what each positive pays under each size, ``(S, M)``."""
    sizes = found.lines.bounds.shape[1]
    if lists.weights is None:
        return np.ones((sizes, len(found.own)))
    pays = np.tile(lists.weights[lists.relevant], (sizes, 1))
    if not lists.tail_pays:
        pays[np.arange(sizes)[:, None] < found.rivals.heads] = 0.0
    return pays


class Ties:
    """The ends of ties, whose precision all their members are given.

    Two scores of at most m that round to one float32 differ by at most m · 2⁻²³. So above λ = 0
    only those can be equal whose first scores are ``near`` each other, and at λ = 0 (by sigmoids
    alone) those whose local score reaches the positive's floor. All bounds are twice as wide as
    needed.
    """

    def __init__(self, lists: JudgedLists, lams: Doubles, gammas: Doubles) -> None:
        self.lams = lams
        self.near, self.floors = -1.0, None
        above = self.lams[self.lams > 0]
        if above.size:
            largest = float(np.abs(lists.scores[lists.valid]).max(initial=1.0))
            self.near = largest * 2.0**-22 / float(above[0])
        if self.at_zero:
            local = lists.local[lists.relevant].astype(np.float64)
            floors = np.full(len(local), np.inf)
            for gamma in gammas[gammas > 0]:
                low = logit(np.maximum(expit(gamma * local) - 2.0**-22, 0.0)) / gamma
                floors = np.minimum(floors, low)
            self.floors = np.nextafter(floors.astype(np.float32), np.float32(-np.inf))

    @property
    def at_zero(self) -> bool:
        """Whether λ = 0 is among the points."""
        return bool(self.lams[0] == 0)

    def ends(self, found: Standings, sigmoids: Doubles, gamma: float) -> Int32:
        """Return the last rank of each positive's tie, ``(L, S, M)``."""
        levels = found.levels(sigmoids, self.lams)
        if gamma == 0 and self.at_zero:
            found.level_heads(levels[:1])
        return levels


class Caps:
    """The last rank that counts by the cutoff; it moves where junk uses up places."""

    def __init__(self, lists: JudgedLists, sizes: Rows) -> None:
        cutoff = lists.convention.cutoff
        width = lists.scores.shape[1]
        self.cutoff = width if cutoff is None else cutoff
        self.sizes, self.queries = len(sizes), len(lists.known)
        self.junk: Standings | None = None
        if lists.convention.cut == "places" and self.cutoff < width and lists.junk.any():
            self.junk = Standings.of(lists.junk_among_all, sizes)
            self.by_local = self.junk.ranks(self.junk.local, np.zeros(1))

    def at(self, lams: Doubles, gamma: float) -> Rows:
        """Return the last rank that counts, int64 ``(L, S, Q)``."""
        from patchrerank.kernels.fused_precisions import count_within

        shape = (len(lams), self.sizes, self.queries)
        if self.junk is None:
            return np.full(shape, self.cutoff, dtype=np.int64)
        at_zero = None if gamma == 0 else self.by_local
        places = self.junk.ranks(self.junk.sigmoids(gamma), lams, at_zero)
        counts = np.empty(shape, dtype=np.int64)
        count_within(places, self.junk.edges, self.cutoff, counts)
        return self.cutoff - counts
