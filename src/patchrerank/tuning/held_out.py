"""What tuning is worth on queries it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from patchrerank.metrics.lists import Doubles
from patchrerank.pipeline import Estimate
from patchrerank.pipeline.stages import StageSpec
from patchrerank.tuning.fused.query_scores import Metric
from patchrerank.tuning.statistics import Gain, bootstrap_interval, gain, group_folds
from patchrerank.tuning.tables.cascades import evaluate_stages
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.grid_space import grid_values
from patchrerank.types import Rows

Tuner = Callable[[ScoreTable], tuple[StageSpec, ...]]
"""From a table of some queries to the stages that are best on it."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Each query's value under the stages tuned on the folds that it is not in.

    All values are in [0, 1], float64 ``(Q,)``, NaN for a query without positives.

    Attributes:
        values: of the tuned stages.
        first: of the first stage alone.
        grid: of the published grid's best point, chosen on the same folds; of a cascade, the
            best point of any of its rerankers alone.
        fold: int64 ``(Q,)``, the fold of each query; all queries of an object share one.
        stages: tuned without each fold.
        estimate: mean of ``values`` with its confidence interval.
        over_first: gain over the first stage.
        over_grid: gain over the grid.
        metric: what the values are.
        seed: of the folds.
    """

    values: Doubles
    first: Doubles
    grid: Doubles
    fold: Rows
    stages: tuple[tuple[StageSpec, ...], ...]
    estimate: Estimate
    over_first: Gain
    over_grid: Gain
    metric: Metric
    seed: int

    @property
    def folds(self) -> int:
        """How many."""
        return len(self.stages)


def measure_held_out(
    table: ScoreTable,
    tuner: Tuner,
    rerankers: tuple[str, ...],
    *,
    folds: int = 5,
    seed: int = 0,
    metric: Metric = "AP",
) -> HeldOut:
    """Tune without each fold in turn, and measure on it.

    Args:
        table: all queries.
        tuner: tunes on a part of them, with the same budget as on all.
        rerankers: of the stages; their published grids are the rival.
        folds: how many; no object has queries in two.
        seed: of the folds, the intervals and the tests.
        metric: ``AP`` or ``LocScore``.

    Raises:
        SettingError: fewer objects than folds.
        TableError: scores or overlaps that the grid needs are not there.
    """
    known = np.flatnonzero(table.n_positives > 0)
    fold = np.full(len(table), -1, dtype=np.int64)
    fold[known] = group_folds(table.groups[known], folds, seed)
    grid = grid_values(table, rerankers, metric)
    values, rival = np.full((2, len(table)), np.nan)
    chosen = []
    for number in range(folds):
        seen = np.flatnonzero((fold != number) & (fold >= 0))
        unseen = np.flatnonzero(fold == number)
        stages = tuner(table.take(seen))
        chosen.append(stages)
        values[unseen] = values_of(table.take(unseen), stages, metric)
        rival[unseen] = grid.values[grid.best(seen), unseen]
    first = values_of(table, (), metric)
    low, high = bootstrap_interval(values, table.groups, seed=seed)
    return HeldOut(
        values=values,
        first=first,
        grid=rival,
        fold=fold,
        stages=tuple(chosen),
        estimate=Estimate(float(np.nanmean(values)), max(low, 0.0), min(high, 1.0)),
        over_first=gain(first, values, table.groups, seed),
        over_grid=gain(rival, values, table.groups, seed),
        metric=metric,
        seed=seed,
    )


def values_of(table: ScoreTable, stages: tuple[StageSpec, ...], metric: Metric = "AP") -> Doubles:
    """Return each query's value under stages; those of size 0 are left out."""
    used = [stage for stage in stages if stage.used]
    return np.asarray(getattr(evaluate_stages(table, used), metric))
