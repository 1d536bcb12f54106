"""A whole tuning run: search, hold out, doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from patchrerank.errors import SettingError
from patchrerank.metrics.lists import Doubles
from patchrerank.pipeline.stages import StageSpec
from patchrerank.tuning.doubts import doubts_about
from patchrerank.tuning.fused.query_scores import Metric
from patchrerank.tuning.held_out import HeldOut, measure_held_out, values_of
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.exact_search import ExactSearch, search_exactly
from patchrerank.tuning.trials.grid_space import grid_values
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.objective import METRICS, Objective, goals_of
from patchrerank.tuning.trials.search_options import Budget, TuneOptions
from patchrerank.tuning.trials.space import SearchSpace, Space
from patchrerank.tuning.tune import default_space, tune

if TYPE_CHECKING:
    from patchrerank.tuning.trials.search import Search


@dataclass(frozen=True)
class RunSettings:
    """What is tuned, and how.

    Attributes:
        rerankers: of the stages, in order; empty: the table's only one.
        objective: see :func:`~.tune.tune`; the first goal chooses the answer.
        budget: of the search, and of each fold's.
        options: of the search; folds are searched in memory by one worker.
        overrides: ranges of the space; see :func:`~.make_space.search_space`.
        exact: no sampling: the exact λ on a lattice of γ and sizes, for one stage.
        folds: for the held-out estimate; 0: none.
    """

    rerankers: tuple[str, ...] = ()
    objective: Objective = "mAP"
    budget: Budget = field(default_factory=Budget)
    options: TuneOptions = field(default_factory=TuneOptions)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    exact: bool = False
    folds: int = 5

    def __post_init__(self) -> None:
        goals = goals_of(self.objective)
        if self.exact and (len(self.rerankers) > 1 or len(goals) > 1):
            raise SettingError(
                "an exact search is over one stage and for one goal; without it the last "
                "stage's λ is solved for in every trial"
            )
        if self.exact and goals[0].name not in METRICS:
            raise SettingError(f"an exact search is for mAP or LocScore, not {goals[0].name!r}")
        if self.exact and self.options.constraints:
            raise SettingError("an exact search knows no constraints")
        if self.folds == 1 or self.folds < 0:
            raise SettingError(f"folds must be 0 (none) or at least 2, got {self.folds}")


@dataclass(frozen=True, eq=False)
class TuningResult:
    """What a run found.

    Attributes:
        stages: the best ones; a stage of size 0 is switched off.
        goal: the name of what they were chosen by.
        value: its value on the queries that were tuned on: an optimistic figure. In [0, 1] for
            mAP and LocScore.
        metric: ``AP`` or ``LocScore``: what the following are, each float64 ``(Q,)`` in [0, 1].
        values: of the best stages.
        first: of the first stage alone.
        grid: of the published grid's best point on all queries.
        space: what was searched.
        search: the trials; None after an exact search.
        exact: the exact search, if it was one.
        held_out: None if nothing was held out.
        warnings: what to know before trusting it.
        sampler: who drew the trials, or ``exact``.
        seed: of sampler and folds.
    """

    stages: tuple[StageSpec, ...]
    goal: str
    value: float
    metric: Metric
    values: Doubles
    first: Doubles
    grid: Doubles
    space: SearchSpace
    search: Search | None
    exact: ExactSearch | None
    held_out: HeldOut | None
    warnings: tuple[str, ...]
    sampler: str
    seed: int


def run_tuning(table: ScoreTable, settings: RunSettings | None = None) -> TuningResult:
    """Tune on all queries, estimate on held-out ones, and say what is doubtful.

    Args:
        table: with all scores.
        settings: see :class:`RunSettings`.

    Raises:
        SettingError: an impossible setting, no trial kept all constraints, or fewer objects
            than folds.
        TableError: scores that are needed are not there.
    """
    how = settings or RunSettings()
    names = how.rerankers or (table.reranker(),)
    goal = goals_of(how.objective)[0].name
    metric = METRICS.get(goal, "AP")
    options = how.options
    space: SearchSpace
    if how.exact:
        space = search_space(table, names, how.overrides)
    else:
        space = default_space(table, names, how.objective, options, None, how.overrides)
    stages, value, search, exact = _searched(table, space, how, options)
    held_out = None
    if how.folds:
        alone = replace(options, storage=None, workers=1, progress=False)
        held_out = measure_held_out(
            table,
            lambda part: _searched(part, space, how, alone)[0],
            names,
            folds=how.folds,
            seed=options.seed,
            metric=metric,
        )
    grid = grid_values(table, names, metric)
    return TuningResult(
        stages=stages,
        goal=goal,
        value=value,
        metric=metric,
        values=values_of(table, stages, metric),
        first=values_of(table, (), metric),
        grid=grid.values[grid.best()],
        space=space,
        search=search,
        exact=exact,
        held_out=held_out,
        warnings=tuple(doubts_about(table, stages, space, held_out, metric)),
        sampler="exact" if how.exact else options.sampler,
        seed=options.seed,
    )


def _searched(
    table: ScoreTable, space: SearchSpace, how: RunSettings, options: TuneOptions
) -> tuple[tuple[StageSpec, ...], float, Search | None, ExactSearch | None]:
    """Return the best stages with their value, and the search."""
    if how.exact and isinstance(space, Space):
        metric = METRICS[goals_of(how.objective)[0].name]
        exact = search_exactly(table, space=space, metric=metric)
        return exact.stages, exact.value, None, exact
    search = tune(table, space, how.objective, how.budget, options)
    best = search.best
    if best is None or best.value is None:
        raise SettingError(
            f"none of {len(search.trials)} trials kept all constraints "
            f"({', '.join(map(str, options.constraints))}); loosen them, or ask for more trials"
        )
    return best.stages, best.value, search, None
