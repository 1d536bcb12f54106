"""What happens in one trial: stages are drawn, evaluated on the table, and reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.tuning.fused.cascades import Missing, StageResult, evaluate_stages
from patchrerank.tuning.fused.grids import check_depth
from patchrerank.tuning.fused.query_scores import Metric
from patchrerank.tuning.tables.derived import after_stages
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.exact_search import exact_of, settled
from patchrerank.tuning.trials.objective import GOALS, METRICS, Constraint, Goal, check_costs
from patchrerank.tuning.trials.space import SearchSpace, Space, Stages, stages_text
from patchrerank.types import Rows

if TYPE_CHECKING:
    import optuna

BLOCK = 8
"""Queries between two looks at whether a trial is worth going on with."""

STAGES, MEASURED, PRUNED = "stages", "measured", "pruned after"
"""Attributes of a trial: its stages as text, its figures, the queries it was stopped after."""


class Evaluator:
    """Evaluates trials.

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
        used = tuple(stage for stage in stages if stage[1].shortlist_size != 0)
        if self._order is not None:
            stopped = self._in_blocks(trial, used, self._order)
            if stopped is not None:
                return (stopped,)
        result = self.evaluate(used)
        check_costs(self.goals, result)
        trial.set_user_attr(MEASURED, figures(result))
        for constraint in self.constraints:
            trial.set_constraint(constraint.name, _known(constraint, used, result))
        return tuple(float(goal.of(result)) for goal in self.goals)

    def evaluate(self, stages: Stages) -> StageResult:
        """Evaluate stages on all queries."""
        table = getattr(self.missing, "table", self.table)
        return evaluate_stages(table, stages, self.missing)

    def _in_blocks(self, trial: optuna.Trial, stages: Stages, order: Rows) -> float | None:
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

    def _solved(self, stages: Stages) -> Stages:
        """Replace the last stage's λ by the middle of the best one's plateau."""
        *before, (name, fusion) = stages
        if fusion.shortlist_size == 0:
            return stages
        lam = solve_lam(self.table, before, name, fusion, self.metric)
        return (*before, (name, replace(fusion, lam=lam)))


def solve_lam(
    table: ScoreTable,
    before: Sequence[tuple[str, Fusion]],
    reranker: str,
    fusion: Fusion,
    metric: Metric = "AP",
) -> float:
    """Return the exact best λ of a stage behind others, for the γ and size of ``fusion``.

    See :func:`~.exact_search.settled`: not the highest needle, but the best plateau.

    Raises:
        SettingError: LocScore behind other stages, whose boxes count as well.
        TableError: scores or overlaps lack.
    """
    earlier = [stage for stage in before if stage[1].shortlist_size != 0]
    if earlier and metric == "LocScore":
        raise SettingError("LocScore has no exact λ behind other stages, whose boxes count too")
    derived = after_stages(table, earlier) if earlier else table
    size = derived.size if fusion.shortlist_size is None else fusion.shortlist_size
    check_depth(table, reranker, min(size, table.size), first=not earlier)
    (found,) = exact_of(derived, reranker, [fusion.gamma], [size], metric)
    return settled(derived, reranker, found, metric)


def figures(result: StageResult) -> dict[str, float | None]:
    """Return what a trial is worth (0–1) and costs, None where nobody knows."""
    found = {name: goal.of(result) for name, goal in GOALS.items()}
    return {name: float(value) if np.isfinite(value) else None for name, value in found.items()}


def _shuffled(table: ScoreTable, seed: int) -> Rows:
    known = np.flatnonzero(table.n_positives > 0)
    return np.random.default_rng(seed).permutation(known)


def _known(constraint: Constraint, stages: Stages, result: StageResult) -> float:
    value = constraint.of(stages, result)
    if np.isnan(value):
        raise SettingError(f"constraint {constraint.name!r}: this table does not know the figure")
    return value
