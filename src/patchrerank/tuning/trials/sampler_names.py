"""What samplers are called; see :mod:`~patchrerank.tuning.trials.samplers`."""

from __future__ import annotations

from typing import Literal, get_args

from patchrerank.errors import SettingError, near_matches

SamplerName = Literal["refine", "tpe", "gp", "cmaes", "random", "qmc", "nsgaii", "grid"]


def check_sampler(name: str) -> None:
    """Refuse an unknown name.

    Raises:
        SettingError: near matches are given.
    """
    known = get_args(SamplerName)
    if name not in known:
        raise SettingError(
            f"sampler {name!r} is unknown{near_matches(name, known)}; use one of {', '.join(known)}"
        )
