"""Trials that workers took at once where only one was to be had: the later ones are given back.

Journals and data bases with locks let one worker at a time take a trial. Behind Optuna's gRPC
proxy nobody can wait for anybody; there each worker looks, once it has a trial, at those with
smaller numbers, which are the same for all, and gives its own back if they are enough, or if one
of them is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

RETRY = "retry of"
"""Attribute of a trial: which one it repeats."""

SURPLUS = "surplus"
"""Attribute of a trial that was given back."""

ORIGIN = "origin"


def is_surplus(
    number: int,
    trials: Sequence[FrozenTrial],
    budget: int,
    counts: Callable[[FrozenTrial], bool],
) -> bool:
    """Tell whether a trial that was just taken is one too many.

    Args:
        number: of the trial.
        trials: all of the study, taken ones among them.
        budget: how many there should be.
        counts: whether a trial is one of those.
    """
    (mine,) = (trial for trial in trials if trial.number == number)
    earlier = [
        trial
        for trial in trials
        if trial.number < number and (counts(trial) or trial.state == TrialState.RUNNING)
    ]
    return len(earlier) >= budget or any(_same(mine, trial) for trial in earlier)


def _same(one: FrozenTrial, other: FrozenTrial) -> bool:
    """Tell whether somebody asked for a trial twice: to repeat a lost one, or to begin with."""
    if RETRY in one.user_attrs or RETRY in other.user_attrs:
        return bool(one.user_attrs.get(RETRY) == other.user_attrs.get(RETRY))
    if not one.user_attrs.get(ORIGIN) or one.user_attrs[ORIGIN] != other.user_attrs.get(ORIGIN):
        return False
    return _asked(one) == _asked(other)


def _asked(trial: FrozenTrial) -> dict[str, Any]:
    return dict(trial.system_attrs.get("fixed_params", {}))
