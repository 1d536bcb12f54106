"""Which interval of λ to take: the best one, and the widest that is nearly as good."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from patchrerank.metrics.lists import Bools, Doubles

GUARD = np.arange(11) / 10.0
"""λ that are tried in any case: the published grid, and with it the ends 0 and 1."""

SAME = 1e-12
"""Mean values no further apart are one: sums of the same terms in another order."""

Run = tuple[float, float]


class Valued(NamedTuple):
    """An interval of λ and the mean value in its middle."""

    value: float
    run: Run


class Choice:
    """The intervals of λ worth a look, for one γ and size.

    Attributes:
        lams: λ whose value has to be computed: the middle of the plateau, of the best interval,
            and of the next best ones, in case that rounding spoils the best.
    """

    def __init__(
        self,
        low: Doubles,
        high: Doubles,
        values: Doubles,
        guard: Doubles,
        epsilon: float,
        alternatives: int,
    ) -> None:
        """Look at the intervals ``low … high`` with their values ``(n,)``.

        Args:
            low, high, values: see :class:`patchrerank.tuning.fused._steps.Steps`.
            guard: the values at ``GUARD``; its ends are points of their own.
            epsilon: how far below the best the plateau may lie.
            alternatives: how many of the next best intervals to evaluate.
        """
        self.guard, self.epsilon = guard, epsilon
        self.low = np.concatenate([[0.0], low, [1.0]])
        self.high = np.concatenate([[0.0], high, [1.0]])
        self.values = np.concatenate([guard[:1], values, guard[-1:]])
        top = self.values.max()
        self.plateau = self._widest(self.values >= top - epsilon - SAME)
        self.runs = [self._widest(self.values >= top - SAME)]
        count = min(alternatives, len(self.values))
        for number in np.argpartition(-self.values, count - 1)[:count]:
            self.runs.append((float(self.low[number]), float(self.high[number])))
        self.lams = np.array([middle(run) for run in (self.plateau, *self.runs)])

    def best(self, values: Doubles) -> tuple[Valued, Valued]:
        """Return the best interval and the plateau, given the values at ``lams``.

        A plateau that turns out to be none gives way to the best interval.
        """
        tried = [
            Valued(float(value), run) for value, run in zip(values[1:], self.runs, strict=True)
        ]
        tried += [
            Valued(float(value), (lam, lam))
            for value, lam in zip(self.guard, GUARD.tolist(), strict=True)
        ]
        top = max(one.value for one in tried)
        best = next(one for one in tried if one.value >= top - SAME)
        plateau = Valued(float(values[0]), self.plateau)
        return best, plateau if plateau.value >= top - self.epsilon - SAME else best

    def _widest(self, wanted: Bools) -> Run:
        """Return the widest interval on which ``wanted`` holds throughout."""
        edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]])))
        low, high = self.low[edges[::2]], self.high[edges[1::2] - 1]
        number = int(np.argmax(high - low))
        return float(low[number]), float(high[number])


def middle(run: Run) -> float:
    """Return the middle of an interval."""
    return (run[0] + run[1]) / 2
