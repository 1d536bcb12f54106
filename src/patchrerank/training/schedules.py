"""Learning rates over a training run."""

from __future__ import annotations

import math
from typing import Literal, get_args

from patchrerank.errors import SettingError, near_matches

Schedule = Literal["cos", "warmcos"]

WARM_SHARE = 0.1
"""Share of the steps in which the rate rises, with ``warmcos``."""

FIRST_SHARE = 1 / 3
"""Share of the rate at which it begins to rise."""


def learning_rate(schedule: Schedule, rate: float, step: int, steps: int) -> float:
    """Return the learning rate of a step.

    ``cos`` (AMES): ``rate`` falls to 0 along half a cosine over all steps. ``warmcos`` (ELViS):
    it rises in a line from a third over the first tenth, then falls likewise.

    Args:
        schedule: which.
        rate: the highest.
        step: from 0; at ``steps`` and behind, the rate is 0.
        steps: of the whole run.

    Raises:
        SettingError: an unknown schedule, or no steps.
    """
    if schedule not in get_args(Schedule):
        known = get_args(Schedule)
        raise SettingError(
            f"schedule {schedule!r} is unknown{near_matches(schedule, known)}; use one of "
            f"{', '.join(known)}"
        )
    if steps < 1:
        raise SettingError(f"a schedule needs at least 1 step, got {steps}")
    warm = int(WARM_SHARE * steps) if schedule == "warmcos" else 0
    if step < warm:
        return rate * (FIRST_SHARE + (1 - FIRST_SHARE) * step / warm)
    done = min(1.0, (step - warm) / max(1, steps - warm))
    return rate * 0.5 * (1 + math.cos(math.pi * done))
