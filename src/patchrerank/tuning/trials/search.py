"""What a search found, as plain records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from patchrerank.errors import SettingError
from patchrerank.pipeline.stages import parse_stages
from patchrerank.tuning.trials.objective import Goal
from patchrerank.tuning.trials.trial import Trial
from patchrerank.tuning.trials.trial_runner import STAGES

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class SearchTrial(Trial):
    """A trial of a search; its ``value`` is the first goal's.

    Attributes:
        values: of all goals; None if it failed or was cut off.
        feasible: it kept all constraints.
        origin: ``published``, ``first stage`` and the like if somebody asked for it, or empty.
    """

    values: tuple[float, ...] | None = None
    feasible: bool = True
    origin: str = ""


@dataclass(frozen=True, eq=False)
class Search:
    """A finished search.

    Attributes:
        trials: all of them, by number; those that were cut off and repeated have no values.
        goals: their names, the first of them is the one that a single answer is chosen by.
        directions: ``maximize`` or ``minimize``, of each.
        sampler: who drew them.
        seed: of the sampler.
        study: Optuna's, to go on with; None where there was none.
    """

    trials: tuple[SearchTrial, ...]
    goals: tuple[str, ...]
    directions: tuple[str, ...]
    sampler: str
    seed: int
    study: Study | None = field(default=None, repr=False)

    @property
    def finished(self) -> list[SearchTrial]:
        """The trials that have values."""
        return [trial for trial in self.trials if trial.values is not None]

    @property
    def best(self) -> SearchTrial | None:
        """The trial with the best first goal that kept all constraints; of equals the first."""
        allowed = [trial for trial in self.finished if trial.feasible]
        return max(allowed, key=lambda trial: self._signed(trial)[0], default=None)

    @property
    def front(self) -> list[SearchTrial]:
        """The trials that no other beats in all goals, best first goal first."""
        allowed = [trial for trial in self.finished if trial.feasible]
        allowed.sort(key=self._signed, reverse=True)
        kept: list[SearchTrial] = []
        for trial in allowed:
            values = self._signed(trial)
            if not any(_covers(self._signed(other), values) for other in kept):
                kept.append(trial)
        return kept

    def _signed(self, trial: SearchTrial) -> tuple[float, ...]:
        signs = [1 if direction == "maximize" else -1 for direction in self.directions]
        return tuple(s * v for s, v in zip(signs, trial.values or (), strict=True))


def search_of(study: Study, goals: Sequence[Goal], sampler: str, seed: int) -> Search:
    """Return what a study holds, but for trials that have not ended."""
    from optuna.trial import TrialState

    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    return Search(
        trials=tuple(map(_trial, study.get_trials(deepcopy=False, states=ended))),
        goals=tuple(goal.name for goal in goals),
        directions=tuple(goal.direction for goal in goals),
        sampler=sampler,
        seed=seed,
        study=study,
    )


def _trial(trial: FrozenTrial) -> SearchTrial:
    text = trial.user_attrs.get(STAGES)
    limits = trial.constraints or {}
    done = trial.state.name == "COMPLETE"
    if done and text is None:
        raise SettingError(
            f"trial {trial.number} of this study has a value but no stages; the storage is "
            "damaged: restore it from a copy, or name another study"
        )
    return SearchTrial(
        number=trial.number,
        stages=tuple(parse_stages(text)) if text else (),
        value=float(trial.values[0]) if done else None,
        values=tuple(trial.values) if done else None,
        feasible=all(value <= 0 for value in limits.values()),
        origin=str(trial.user_attrs.get("origin", "")),
    )


def _covers(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a >= b or math.isclose(a, b, rel_tol=1e-12) for a, b in zip(one, other, strict=True))
