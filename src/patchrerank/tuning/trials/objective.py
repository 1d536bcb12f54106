"""What trials are after, and what they must not do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from patchrerank.analysis.measuring import AREA_BINS
from patchrerank.errors import SettingError, near_matches
from patchrerank.metrics import mean_over_queries
from patchrerank.pipeline.stages import StageSpec
from patchrerank.tuning.fused.query_scores import Metric
from patchrerank.tuning.tables.cascades import Missing, StageResult, evaluate_stages
from patchrerank.tuning.tables.score_table import ScoreTable

Direction = Literal["maximize", "minimize"]
Measure = Callable[[StageResult], float]
Objective = str | Measure | Sequence[str | Measure]
"""``mAP``, ``LocScore``, ``ms``, ``bytes``, a function to be maximised, or several of these."""

AREAS = "areas>=first"
"""The constraint that no bin of object areas may fall below the first stage."""


@dataclass(frozen=True)
class Goal:
    """One number that a trial is after.

    Attributes:
        name: for people and files.
        of: the number; mAP and LocScore in [0, 1].
        direction: which way is better.
    """

    name: str
    of: Measure
    direction: Direction = "maximize"


GOALS = {
    goal.name: goal
    for goal in (
        Goal("mAP", lambda result: mean_over_queries(result.AP)),
        Goal("LocScore", lambda result: mean_over_queries(result.LocScore)),
        Goal("ms", lambda result: result.milliseconds, "minimize"),
        Goal("bytes", lambda result: result.bytes_per_image, "minimize"),
    )
}
"""mAP and LocScore in [0, 1], milliseconds a query, bytes an image."""

METRICS: dict[str, Metric] = {"mAP": "AP", "LocScore": "LocScore"}
"""The goals that are means over queries, and what they are called query by query."""


def goals_of(objective: Objective) -> tuple[Goal, ...]:
    """Return the goals that an objective stands for.

    Raises:
        SettingError: an unknown name (near matches are given), none, or the same twice.
    """
    if isinstance(objective, str) or callable(objective):
        return (_goal(objective),)
    goals = tuple(map(_goal, objective))
    if not goals or len({goal.name for goal in goals}) < len(goals):
        raise SettingError(f"an objective needs at least one goal, each once; got {objective!r}")
    return goals


def _goal(item: str | Measure) -> Goal:
    if callable(item):
        return Goal(getattr(item, "__name__", type(item).__name__), item)
    if item not in GOALS:
        same = [f"; did you mean {name}?" for name in GOALS if name.lower() == item.lower()]
        near = same[0] if same else near_matches(item, GOALS)
        raise SettingError(
            f"objective {item!r} is unknown{near}; use one of {', '.join(GOALS)}, or a function"
        )
    return GOALS[item]


Check = Callable[[tuple[StageSpec, ...], StageResult], float]


@dataclass(frozen=True)
class Constraint:
    """What a trial must not do.

    Attributes:
        name: for people and files.
        of: at most 0 where it is kept.
    """

    name: str
    of: Check


PATTERN = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+.\deE]+)\s*")


def constraints_of(
    table: ScoreTable, constraints: Sequence[str | Measure], missing: Missing | None = None
) -> list[Constraint]:
    """Return constraints of what a user wrote.

    Args:
        table: that trials are evaluated on.
        constraints: such as ``ms<=20`` or ``LocScore>=0.25`` (metrics in [0, 1]),
            ``areas>=first`` (never below the first stage on any area bin), or functions that
            are at most 0 where the constraint is kept.
        missing: computes scores that are not there yet.

    Raises:
        SettingError: text that is none of these.
        TableError: the table knows no areas.
    """
    return [_constraint(table, item, missing) for item in constraints]


def _constraint(table: ScoreTable, item: str | Measure, missing: Missing | None) -> Constraint:
    if callable(item):
        goal = _goal(item)
        return Constraint(goal.name, lambda _, result: float(goal.of(result)))
    if item.replace(" ", "") == AREAS:
        return Constraint(AREAS, _AreaCheck(table, missing))
    found = PATTERN.fullmatch(item)
    try:
        name, sign, limit = found.group(1, 2, 3) if found else ("", "", "")
        number = float(limit)
    except ValueError:
        raise SettingError(
            f"constraint {item!r} is malformed; write {AREAS}, or a goal and its limit, such as "
            "ms<=20 or LocScore>=0.25"
        ) from None
    measure, factor = _goal(name).of, 1.0 if sign == "<=" else -1.0
    return Constraint(f"{name}{sign}{number:g}", lambda _, r: factor * (measure(r) - number))


class _AreaCheck:
    """How far the mAP of the worst area bin falls below the first stage, in 0–1."""

    def __init__(self, table: ScoreTable, missing: Missing | None) -> None:
        self._missing = missing
        bins = [table.within(low, high) for low, high in AREA_BINS.values()]
        self._bins = [one for one in bins if one.n_positives.any()]
        self._first = [mean_over_queries(evaluate_stages(one, []).AP) for one in self._bins]

    def __call__(self, stages: tuple[StageSpec, ...], result: StageResult) -> float:
        results = (evaluate_stages(one, stages, self._missing) for one in self._bins)
        now = (mean_over_queries(one.AP) for one in results)
        return max((before - n for before, n in zip(self._first, now, strict=True)), default=0.0)


def figures(result: StageResult) -> dict[str, float]:
    """Return what a trial is worth (0–1) and costs, NaN where nobody knows."""
    return {name: float(goal.of(result)) for name, goal in GOALS.items()}


def values_of_goals(
    goals: Sequence[Goal], result: StageResult, known: Mapping[str, float]
) -> tuple[float, ...]:
    """Return the goals' values, given the :func:`figures` of the result.

    Raises:
        SettingError: the table knows no costs or no overlaps.
    """
    values = []
    for goal in goals:
        ours = GOALS.get(goal.name) is goal
        values.append(known[goal.name] if ours else float(goal.of(result)))
        if ours and np.isnan(values[-1]):
            what = "overlaps" if goal.name == "LocScore" else "costs"
            raise SettingError(
                f"objective {goal.name!r}: this table knows no {what} of its rerankers; build it "
                "from a data set's gallery, or add them"
            )
    return tuple(values)
