"""Optuna's samplers by name, drawing by seed and trial number alone."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from patchrerank.errors import MissingExtraError, SettingError
from patchrerank.tuning.trials.grid_space import GridSpace
from patchrerank.tuning.trials.refining import Refining
from patchrerank.tuning.trials.sampler_names import check_sampler
from patchrerank.tuning.trials.seeded import Delegating, Make, Reseeded, place_of
from patchrerank.tuning.trials.space import SearchSpace

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


def make_sampler(name: str, space: SearchSpace, seed: int) -> BaseSampler:
    """Return a sampler.

    Args:
        name: ``tpe``, ``gp``, ``cmaes`` (package ``cmaes``), ``random``, ``qmc``, ``nsgaii``;
            ``refine``: TPE and steps around the best trial in turn; ``grid``: all points of a
            :class:`~.grid_space.GridSpace`, in random order.
        space: what is drawn from.
        seed: of everything that is drawn.

    Raises:
        SettingError: an unknown name, or ``grid`` over ranges.
        MissingExtraError: a package is absent.
    """
    check_sampler(name)
    if name == "grid":
        if not isinstance(space, GridSpace):
            raise SettingError("sampler 'grid' needs a grid to walk; pass a GridSpace")
        return GridWalk(space, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if name == "cmaes":
            return _cmaes(seed)
        if name == "qmc":
            return QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
    return Refining(_tpe, seed) if name == "refine" else Reseeded(MADE[name], seed)


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed, deterministic_objective=True, warn_independent_sampling=False)


def _nsgaii(seed: int) -> BaseSampler:
    return NSGAIISampler(seed=seed)


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


MADE: dict[str, Make] = {"tpe": _tpe, "gp": _gp, "nsgaii": _nsgaii, "random": _random}


def _cmaes(seed: int) -> BaseSampler:
    try:
        import_module("cmaes")
    except ImportError as error:
        raise MissingExtraError("sampler 'cmaes' needs the package cmaes: pip install cmaes") from (
            error
        )
    return CmaEsSampler(seed=seed, warn_independent_sampling=False)


class GridWalk(Delegating):
    """All points of a grid, each once, in random order."""

    def __init__(self, space: GridSpace, seed: int) -> None:
        self.inner = RandomSampler(seed=seed)
        self._choices = space.choices
        self._shape = tuple(len(values) for values in self._choices.values())
        self._order = np.random.default_rng(seed).permutation(len(space))

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all parameters."""
        from optuna.distributions import CategoricalDistribution

        return {name: CategoricalDistribution(values) for name, values in self._choices.items()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point of this trial's place."""
        point = self._order[place_of(study, trial) % len(self._order)]
        places = np.unravel_index(point, self._shape)
        return {
            name: values[int(place)]
            for (name, values), place in zip(self._choices.items(), places, strict=True)
        }
