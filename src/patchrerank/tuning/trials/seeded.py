"""Samplers whose draws depend on the seed and the trial's place alone, not on the process."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from patchrerank.tuning.trials.surplus import RETRY

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Make = Callable[[int], BaseSampler]
"""From a seed to a sampler."""

FAILURE = "error"
"""Attribute of a trial that failed by itself; other failed trials were cut off."""


def place_of(study: Study, trial: FrozenTrial) -> int:
    """Return how many trials came before this one, those that were cut off not counted.

    So a study that was killed and resumed goes on with the very draws that an undisturbed one would
    have made. A trial that repeats another, which may have been lost before it had drawn, has that
    one's place.
    """
    repeated = trial.user_attrs.get(RETRY)
    if repeated is not None:
        (first,) = (one for one in study.get_trials(deepcopy=False) if one.number == repeated)
        return place_of(study, first)
    lost = [
        other
        for other in study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        if other.number < trial.number and FAILURE not in other.user_attrs
    ]
    return trial.number - len(lost)


class Delegating(BaseSampler):
    """Hands everything to a sampler of its own."""

    inner: BaseSampler

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Ask the other sampler."""
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the other sampler."""
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Ask the other sampler."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Tell the other sampler."""
        self.inner.after_trial(study, trial, state, values)


class Reseeded(Delegating):
    """A sampler without memory, made anew for each trial with a seed of its own.

    What it draws then depends on the seed, the trial's place and the trials before, but not on
    which process draws, nor on what that process has drawn before.
    """

    def __init__(self, make: Make, seed: int) -> None:
        self._make, self._seed = make, seed
        self.inner = self._made(0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the sampler of this trial."""
        self.inner = self._made(place_of(study, trial))
        self.inner.before_trial(study, trial)

    def _made(self, place: int) -> BaseSampler:
        (seed,) = np.random.SeedSequence([self._seed, place]).generate_state(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return self._make(int(seed))
