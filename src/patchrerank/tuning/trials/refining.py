"""A sampler that explores with TPE and refines the best trial in turn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from patchrerank.tuning.trials.seeded import Delegating, Make, place_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

EXPLORE = 20
"""Trials before the first step."""

SHARE = 2
"""Of so many trials after that, all but one are steps."""

STEPS = (-3.0, -0.5)
"""Powers of ten between which the length of a step is drawn, as a share of the range."""

FLIP = 0.1
"""How probable it is that a step draws a categorical parameter anew."""


class Refining(Delegating):
    """Every other trial is a step away from the best one; the others are another sampler's.

    TPE finds the hill soon, but its kernels are too wide for the top: the best interval of λ may
    be a hundredth of the range. A step moves one or more parameters of the best trial by a
    random share of their range, as often by a thousandth as by a tenth.

    Args:
        make: makes the other sampler for a seed.
        seed: of everything that is drawn.
    """

    def __init__(self, make: Make, seed: int) -> None:
        self._make, self._seed = make, seed
        self._rng = np.random.default_rng(seed)
        self._around: FrozenTrial | None = None
        self.inner = make(seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Decide whether this trial is a step."""
        place = place_of(study, trial)
        self._rng = np.random.default_rng([self._seed, place])
        self.inner = self._make(int(self._rng.integers(2**31)))
        self._around = None
        if place >= EXPLORE and place % SHARE and len(study.directions) == 1:
            self._around = _best(study)
        if self._around is None:
            self.inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters of the best trial, or the other sampler's."""
        if self._around is None:
            return self.inner.infer_relative_search_space(study, trial)
        return dict(self._around.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the best trial's parameters after a step, or what the other sampler draws."""
        if self._around is None:
            return self.inner.sample_relative(study, trial, search_space)
        free = [name for name, kind in search_space.items() if not kind.single()]
        if not free:
            return dict(self._around.params)
        moved = self._rng.random(len(free)) < 0.5
        moved[self._rng.integers(len(free))] = True
        chosen = {name for name, move in zip(free, moved, strict=True) if move}
        length = 10 ** self._rng.uniform(*STEPS)
        return {
            name: self._moved(kind, self._around.params[name], length)
            if name in chosen
            else self._around.params[name]
            for name, kind in search_space.items()
        }

    def _moved(self, kind: BaseDistribution, value: Any, length: float) -> Any:
        if isinstance(kind, CategoricalDistribution):
            anew = self._rng.random() < FLIP
            return kind.choices[self._rng.integers(len(kind.choices))] if anew else value
        step = self._rng.standard_normal() * length
        if not isinstance(kind, FloatDistribution | IntDistribution):
            return value
        if kind.log:
            low, high = math.log(kind.low), math.log(kind.high)
            found = math.exp(math.log(value) + step * (high - low))
        else:
            found = value + step * (kind.high - kind.low)
        if isinstance(kind, IntDistribution):
            away = 1 if step > 0 else -1
            found = round(found) if round(found) != value else value + away
            return int(min(max(found, kind.low), kind.high))
        return float(min(max(found, kind.low), kind.high))


def _best(study: Study) -> FrozenTrial | None:
    try:
        return study.best_trial
    except ValueError:  # none is finished, or none keeps the constraints
        return None
