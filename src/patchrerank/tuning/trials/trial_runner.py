"""What happens in one trial: stages are drawn, evaluated on the table, and reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.pipeline.stages import StageSpec, stages_text
from patchrerank.tuning.fused.query_scores import Metric
from patchrerank.tuning.tables.cascades import Missing, StageResult, evaluate_stages
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.exact_search import solve_lam
from patchrerank.tuning.trials.objective import METRICS, Constraint, Goal, figures, values_of_goals
from patchrerank.tuning.trials.space import SearchSpace, Space
from patchrerank.types import Rows

if TYPE_CHECKING:
    import optuna

BLOCK = 8
"""Queries between two looks at whether a trial is worth going on with."""

STAGES, MEASURED, PRUNED = "stages", "measured", "pruned after"
"""Attributes of a trial: its stages as text, its figures, the queries it was stopped after."""


class TrialRunner:
    """Runs trials: draws stages, evaluates them, and reports.

    Args:
        table: what they are evaluated on.
        space: what they are drawn from.
        goals: what they are after.
        constraints: what they must not do.
        missing: computes scores that are not there yet.
        prune: report query by query (in an order drawn with ``seed``), and stop early.
        seed: see ``prune``.

    Raises:
        SettingError: goals that do not go with ``prune``, or with λ being solved for.
    """

    def __init__(
        self,
        table: ScoreTable,
        space: SearchSpace,
        goals: Sequence[Goal],
        constraints: Sequence[Constraint] = (),
        missing: Missing | None = None,
        *,
        prune: bool = False,
        seed: int = 0,
    ) -> None:
        self.table, self.space, self.goals = table, space, tuple(goals)
        self.constraints, self.missing = tuple(constraints), missing
        first = self.goals[0].name
        self.metric: Metric = METRICS.get(first, "AP")
        self.exact = isinstance(space, Space) and space.exact_lam
        if self.exact and first not in METRICS:
            raise SettingError(
                f"λ can only be solved for mAP and LocScore, not for {first!r}; name one first"
            )
        if prune and (len(self.goals) > 1 or first not in METRICS):
            raise SettingError("trials can only be pruned for one goal, mAP or LocScore")
        self._order: Rows | None = _shuffled(table, seed) if prune else None

    def __call__(self, trial: optuna.Trial) -> tuple[float, ...]:
        """Return the goals' values; NaN where a goal has none."""
        stages = self.space.suggest(trial)
        if self.exact:
            stages = self._solved(stages)
        trial.set_user_attr(STAGES, stages_text(stages))
        used = tuple(stage for stage in stages if stage.used)
        if self._order is not None:
            stopped = self._in_blocks(trial, used, self._order)
            if stopped is not None:
                return (stopped,)
        result = self.evaluate(used)
        found = figures(result)
        values = values_of_goals(self.goals, result, found)
        trial.set_user_attr(MEASURED, known_figures(found))
        for constraint in self.constraints:
            trial.set_constraint(constraint.name, _known(constraint, used, result))
        return values

    def evaluate(self, stages: tuple[StageSpec, ...]) -> StageResult:
        """Evaluate stages on all queries."""
        table = getattr(self.missing, "table", self.table)
        return evaluate_stages(table, stages, self.missing)

    def _in_blocks(
        self, trial: optuna.Trial, stages: tuple[StageSpec, ...], order: Rows
    ) -> float | None:
        """Report query by query; return the mean so far if that is enough."""
        seen: list[float] = []
        for start in range(0, len(order), BLOCK):
            table = getattr(self.missing, "table", self.table)
            some = order[start : start + BLOCK]
            result = evaluate_stages(table.take(some), stages, self.missing)
            for query, value in zip(some, getattr(result, self.metric), strict=True):
                trial.report(float(value), int(query))
                seen.append(float(value))
            if trial.should_prune():
                trial.set_user_attr(PRUNED, len(seen))
                return float(np.mean(seen))
        return None

    def _solved(self, stages: tuple[StageSpec, ...]) -> tuple[StageSpec, ...]:
        """Replace the last stage's λ by the middle of the best one's plateau."""
        *before, last = stages
        if not last.used:
            return stages
        lam = solve_lam(self.table, before, last, self.metric)
        return (*before, replace(last, lam=lam))


def known_figures(found: Mapping[str, float]) -> dict[str, float | None]:
    """Return figures as records hold them: None where nobody knows."""
    return {name: value if np.isfinite(value) else None for name, value in found.items()}


def _shuffled(table: ScoreTable, seed: int) -> Rows:
    known = np.flatnonzero(table.n_positives > 0)
    return np.random.default_rng(seed).permutation(known)


def _known(constraint: Constraint, stages: tuple[StageSpec, ...], result: StageResult) -> float:
    value = constraint.of(stages, result)
    if np.isnan(value):
        raise SettingError(f"constraint {constraint.name!r}: this table does not know the figure")
    return value
