"""What tuning may choose: λ, γ and the shortlist size of every stage."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.pipeline.stages import StageSpec
from patchrerank.tuning.fused.spreads import Spread, lam_of, mix_of

if TYPE_CHECKING:
    import optuna

Range = tuple[float, float]

OFF = Fusion(lam=1.0, gamma=1.0, shortlist_size=0)
"""The fusion of a stage that does nothing."""

MIX = (-0.05, 1.05)
"""The share of the global score that is drawn; outside [0, 1] it counts as 0 or 1.

So λ = 0 and λ = 1, which are settings of their own, are drawn as often as others.
"""

LOG_FROM = 20
"""Sizes are drawn on a logarithmic scale where the largest is that many times the smallest."""

NEAR = 0.03
"""So close to an end, as a share of the range, a parameter lies on the border."""


class SearchSpace(Protocol):
    """Where trials are drawn from."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> tuple[StageSpec, ...]:
        """Draw stages."""

    def params(self, stages: tuple[StageSpec, ...]) -> dict[str, Any] | None:
        """Return the trial parameters that mean ``stages``, moved to the nearest ones inside.

        None where nothing inside means nearly the same.
        """

    def borders(self, stages: tuple[StageSpec, ...]) -> list[str]:
        """Say which parameters lie on which border, and what that means."""

    def record(self) -> dict[str, Any]:
        """Return a JSON-able description."""


@dataclass(frozen=True)
class StageSpace:
    """The ranges of one stage; ends are inside, equal ends fix a value.

    Attributes:
        reranker: by its name in the table.
        sizes: of the shortlist, from 1 on. A later stage's is cut to what the stage before
            rescored.
        gammas: of γ, above 0; drawn on a logarithmic scale.
        spread: of the reranker's scores.
        lams: of λ, within [0, 1].
        optional: the stage may be switched off.
    """

    reranker: str
    sizes: tuple[int, int]
    gammas: Range
    spread: Spread
    lams: Range = (0.0, 1.0)
    optional: bool = False

    def __post_init__(self) -> None:
        for name, (low, high), least, most in (
            ("sizes", self.sizes, 1, math.inf),
            ("gammas", self.gammas, math.ulp(0.0), 1e300),
            ("lams", self.lams, 0, 1),
        ):
            if not least <= low <= high <= most:
                raise SettingError(
                    f"{self.reranker}: {name} must be a range with {least:g} ≤ low ≤ high"
                    f"{'' if most > 1 else ' ≤ 1'}, got {low} … {high}"
                )


@dataclass(frozen=True)
class Space:
    """Continuous ranges of all stages; see :func:`search_space`.

    What is drawn in place of λ is the share that the global score has in the spread of the fused
    one (``mix``): a good share stays good when γ changes, a good λ does not. Trials keep λ, γ
    and sizes themselves among their attributes.

    Attributes:
        stages: at least one.
        global_width: the spread of the first stage's scores.
        exact_lam: the last stage's λ is not drawn, but solved for.
    """

    stages: tuple[StageSpace, ...]
    global_width: float
    exact_lam: bool = False

    def __post_init__(self) -> None:
        if not self.stages or not self.global_width > 0:
            raise SettingError("a space needs a stage, and a spread of global scores above 0")

    def suggest(self, trial: optuna.trial.BaseTrial) -> tuple[StageSpec, ...]:
        """Draw stages; λ is 1 for now where it is to be solved for."""
        stages: list[StageSpec] = []
        width, limit = self.global_width, math.inf
        for key, stage in self._keyed():
            if stage.optional and not trial.suggest_categorical(f"{key} on", [True, False]):
                stages.append(StageSpec.of(stage.reranker, OFF))
                continue
            low, high = stage.sizes
            size = trial.suggest_int(f"{key} k", low, high, log=high >= LOG_FROM * low)
            gamma = trial.suggest_float(f"{key} gamma", *stage.gammas, log=True)
            lam, rise = 1.0, stage.spread.sigmoid(gamma)
            if not self._solved(key):
                mix = trial.suggest_float(f"{key} mix", *self._mixes(stage))
                lam = _clipped(lam_of(_clipped(mix, (0.0, 1.0)), width, rise), stage.lams)
            limit = min(limit, size)
            stages.append(StageSpec(stage.reranker, lam, gamma, int(limit)))
            width = lam * width + (1 - lam) * rise
        return tuple(stages)

    def params(self, stages: tuple[StageSpec, ...]) -> dict[str, Any] | None:
        """Return the trial parameters that mean ``stages``, as nearly as the ranges allow."""
        if [stage.reranker for stage in stages] != [stage.reranker for stage in self.stages]:
            return None
        found: dict[str, Any] = {}
        width = self.global_width
        for (key, stage), given in zip(self._keyed(), stages, strict=True):
            used = given.used and given.gamma > 0
            if stage.optional:
                found[f"{key} on"] = used
                if not used:
                    continue
            size = stage.sizes[1] if given.shortlist_size is None else given.shortlist_size
            lam = given.lam if used else 1.0
            gamma = _clipped(given.gamma, stage.gammas)
            mix = mix_of(lam, width, stage.spread.sigmoid(given.gamma if used else gamma))
            found[f"{key} k"] = int(_clipped(size if used else stage.sizes[1], stage.sizes))
            found[f"{key} gamma"] = gamma
            if not self._solved(key):
                found[f"{key} mix"] = _clipped(mix, self._mixes(stage))
            rise = stage.spread.sigmoid(gamma)
            lam = lam_of(mix, width, rise)
            width = lam * width + (1 - lam) * rise
        return found

    def borders(self, stages: tuple[StageSpec, ...]) -> list[str]:
        """Say which parameters lie on which border, and what that means."""
        found: list[str] = []
        for (key, stage), given in zip(self._keyed(), stages, strict=True):
            if given.used:
                found += [f"{key}: {text}" for text in _borders(stage, given)]
        return found

    def record(self) -> dict[str, Any]:
        """Return a JSON-able description."""
        return asdict(self)

    def _keyed(self) -> list[tuple[str, StageSpace]]:
        """Return each stage with what its parameters are called by."""
        many = len(self.stages) > 1
        return [
            (f"{number} {stage.reranker}" if many else stage.reranker, stage)
            for number, stage in enumerate(self.stages, 1)
        ]

    def _solved(self, key: str) -> bool:
        return self.exact_lam and key == self._keyed()[-1][0]

    def _mixes(self, stage: StageSpace) -> Range:
        """Return the range that is drawn from; a single point where λ is fixed at an end."""
        low, high = stage.lams
        if low == high and low in (0.0, 1.0):
            return low, low
        return MIX


def _borders(stage: StageSpace, given: StageSpec) -> list[str]:
    found = []
    if given.lam == stage.lams[0] < stage.lams[1]:
        why = "; the score before it has nothing to add" if given.lam == 0 else ""
        found.append(f"λ lies on its lower border {stage.lams[0]:g}{why}")
    if given.lam == stage.lams[1] > stage.lams[0]:
        why = "; the reranker has nothing to add" if given.lam == 1 else ""
        found.append(f"λ lies on its upper border {stage.lams[1]:g}{why}")
    if 0 < given.lam < 1:
        found += _ends("γ", given.gamma, stage.gammas, " (as good as linear)", " (a step)")
    if given.lam < 1:
        size = stage.sizes[1] if given.shortlist_size is None else given.shortlist_size
        why = "; a longer list from the first stage may be worth more"
        found += _ends("the shortlist size", size, stage.sizes, "", why)
    return found


def _ends(name: str, value: float, ends: Range, low: str, high: str) -> list[str]:
    if ends[0] == ends[1]:
        return []
    place = math.log(value / ends[0]) / math.log(ends[1] / ends[0])
    if place <= NEAR:
        return [f"{name} lies on its lower border {ends[0]:g}{low}"]
    return [f"{name} lies on its upper border {ends[1]:g}{high}"] if place >= 1 - NEAR else []


def _clipped(value: float, ends: tuple[float, float]) -> float:
    return min(max(value, ends[0]), ends[1])
