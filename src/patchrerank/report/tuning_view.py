"""One stage of a tuned cascade, with the stages before it held fixed: what its settings are worth.

Values are means over the queries that have positives, in [0, 1], higher is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from patchrerank.fusion import Fusion
from patchrerank.metrics import mean_over_queries
from patchrerank.metrics.lists import Doubles
from patchrerank.pipeline.stages import StageSpec
from patchrerank.tuning.fused.query_scores import Metric
from patchrerank.tuning.tables.cascades import evaluate_stages
from patchrerank.tuning.tables.derived import after_stages
from patchrerank.tuning.tables.grids import evaluate_grid
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.grid_space import GAMMAS
from patchrerank.tuning.trials.trial import Trial

METRICS: dict[str, Metric] = {"mAP": "AP", "LocScore": "LocScore"}
"""The metrics that a table knows, by the name of the mean."""


@dataclass(frozen=True, eq=False)
class StageView:
    """A stage of a cascade on a score table.

    Attributes:
        table: of the first stage's candidates.
        before: the stages before this one.
        reranker: this one's.
        metric: ``AP`` or ``LocScore``.
    """

    table: ScoreTable
    before: tuple[StageSpec, ...]
    reranker: str
    metric: Metric

    @property
    def limit(self) -> int:
        """How many candidates it can rescore: the earlier stages' cut, where scores are known."""
        sizes = [stage.fusion.size_of(self.table.size) for stage in self.before]
        seen = self._after if self.fine else self.table
        return min([seen.scored(self.reranker), *sizes])

    @property
    def least(self) -> int:
        """How many it must rescore at least, if any: more than 1 if its scores need the list."""
        depth = self.table.list_depths.get(self.reranker, 1)
        return max(1, min(depth, self.table.size))

    @property
    def fine(self) -> bool:
        """Whether whole grids can be counted; else every point is a cascade that is sorted."""
        counted = self.metric == "AP" and self.table.convention.ties != "threshold"
        return counted or not self.before

    def means(
        self, lams: Sequence[float], gammas: Sequence[float], sizes: Sequence[int]
    ) -> Doubles:
        """Return the metric of every combination, float64 ``(sizes, gammas, lams)``.

        Raises:
            TableError: scores that are needed were not computed.
        """
        if self.fine:
            found = evaluate_grid(self._after, lams, gammas, sizes, self.reranker, self.metric)
            return np.asarray(np.nanmean(found, axis=-1))
        values = [
            value_of(self.table, [*self.before, stage], self.metric)
            for stage in (
                StageSpec(self.reranker, float(lam), float(gamma), int(size))
                for size in sizes
                for gamma in gammas
                for lam in lams
            )
        ]
        return np.reshape(values, (len(sizes), len(gammas), len(lams)))

    @property
    def without(self) -> float:
        """The metric of the stages before this one alone."""
        return value_of(self.table, self.before, self.metric)

    @cached_property
    def _after(self) -> ScoreTable:
        return after_stages(self.table, self.before)


def value_of(table: ScoreTable, stages: Sequence[StageSpec], metric: Metric) -> float:
    """Return the metric of a cascade; NaN if no query has positives.

    Raises:
        TableError: scores that are needed were not computed.
    """
    return mean_over_queries(getattr(evaluate_stages(table, stages), metric))


def view_of(
    table: ScoreTable, stages: tuple[StageSpec, ...], metric: Metric
) -> tuple[StageView, Fusion]:
    """Return the last of the stages that does something (or else the last), and its fusion."""
    active = [n for n, stage in enumerate(stages) if stage.used]
    place = active[-1] if active else len(stages) - 1
    before = tuple(stage for stage in stages[:place] if stage.used)
    reranker = table.reranker(stages[place].reranker)
    return StageView(table, before, reranker, metric), stages[place].fusion


def fusion_in(trial: Trial, view: StageView) -> Fusion | None:
    """Return what a trial chose for the stage; None if it left it out."""
    chosen = [stage for stage in trial.stages if stage.reranker == view.reranker and stage.used]
    return chosen[-1].fusion if chosen else None


def gamma_range(fusions: Iterable[Fusion]) -> tuple[float, float]:
    """Return the range that the γ above 0 cover, the published grid's range at least."""
    gammas = [fusion.gamma for fusion in fusions if fusion.gamma > 0]
    low = min([GAMMAS[1], *gammas])
    return low, max([GAMMAS[-1], *gammas])
