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
from patchrerank.tuning.fused.cascades import evaluate_stages
from patchrerank.tuning.fused.query_scores import Metric
from patchrerank.tuning.tables.derived import after_stages
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.grid_space import GAMMAS
from patchrerank.tuning.trials.space import Stages
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
    before: Stages
    reranker: str
    metric: Metric

    @property
    def limit(self) -> int:
        """How many candidates it can rescore: the earlier stages' cut, where scores are known."""
        sizes = [size_of(fusion, self.table) for _, fusion in self.before]
        seen = self._after if self.fine else self.table
        return min([known_size(seen, self.reranker), *sizes])

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
            found = self._after.evaluate_grid(lams, gammas, sizes, self.reranker, self.metric)
            return np.asarray(np.nanmean(found, axis=-1))
        values = [
            value_of(self.table, [*self.before, (self.reranker, fusion)], self.metric)
            for fusion in (
                Fusion(lam, gamma, size) for size in sizes for gamma in gammas for lam in lams
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


def value_of(table: ScoreTable, stages: Sequence[tuple[str, Fusion]], metric: Metric) -> float:
    """Return the metric of a cascade; NaN if no query has positives.

    Raises:
        TableError: scores that are needed were not computed.
    """
    return mean_over_queries(getattr(evaluate_stages(table, stages), metric))


def view_of(table: ScoreTable, stages: Stages, metric: Metric) -> tuple[StageView, Fusion]:
    """Return the last of the stages that does something (or else the last), and its fusion."""
    active = [n for n, (_, fusion) in enumerate(stages) if fusion.shortlist_size != 0]
    place = active[-1] if active else len(stages) - 1
    reranker, fusion = stages[place]
    before = tuple(stage for stage in stages[:place] if stage[1].shortlist_size != 0)
    return StageView(table, before, table.reranker(reranker), metric), fusion


def size_of(fusion: Fusion, table: ScoreTable) -> int:
    """Return how many candidates a fusion rescores, at most K."""
    size = fusion.shortlist_size
    return table.size if size is None else min(size, table.size)


def known_size(table: ScoreTable, reranker: str) -> int:
    """Return how many slots, from the first on, have all their local scores."""
    lacking = table.missing(reranker).any(axis=0)
    return int(np.argmax(lacking)) if lacking.any() else table.size


def fusion_in(trial: Trial, view: StageView) -> Fusion | None:
    """Return what a trial chose for the stage; None if it left it out."""
    chosen = [f for name, f in trial.stages if name == view.reranker and f.shortlist_size != 0]
    return chosen[-1] if chosen else None


def gamma_range(fusions: Iterable[Fusion]) -> tuple[float, float]:
    """Return the range that the γ above 0 cover, the published grid's range at least."""
    gammas = [fusion.gamma for fusion in fusions if fusion.gamma > 0]
    low = min([GAMMAS[1], *gammas])
    return low, max([GAMMAS[-1], *gammas])
