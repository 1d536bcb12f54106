"""Tuning without sampling: the exact best λ for every useful shortlist size and γ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.kernels.checks import check_threads
from patchrerank.metrics import mean_over_queries
from patchrerank.metrics.lists import Doubles
from patchrerank.pipeline.stages import StageSpec
from patchrerank.tuning.fused.exact_lambda import ExactLambda, best_lambdas
from patchrerank.tuning.fused.query_scores import Metric
from patchrerank.tuning.tables.derived import after_stages
from patchrerank.tuning.tables.grids import check_depth, evaluate_grid, require_scores
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.space import Space
from patchrerank.types import Rows

GAMMAS = 12
SIZES = 12
"""How many values of γ and of the shortlist size are tried, evenly on a logarithmic scale."""


EPSILON = 0.0002
"""How far a plateau of λ may lie below the best, in 0–1: 0.02 points of a percentage."""


@dataclass(frozen=True)
class ExactSearch:
    """The best λ of every pair of shortlist size and γ.

    Attributes:
        reranker: of the only stage.
        found: best first.
        lam: the λ to use for :attr:`best`; see :func:`settled`.
        value: the metric at ``lam``, in [0, 1].
        metric: what was maximised.
    """

    reranker: str
    found: tuple[ExactLambda, ...]
    lam: float
    value: float
    metric: Metric = "AP"

    @property
    def best(self) -> ExactLambda:
        """The pair whose plateau is worth most: not the highest needle."""
        return best_plateau(self.found)

    @property
    def stages(self) -> tuple[StageSpec, ...]:
        """The stage to use."""
        best = self.best
        return (StageSpec(self.reranker, self.lam, best.gamma, best.shortlist_size),)


def search_exactly(
    table: ScoreTable,
    reranker: str | None = None,
    *,
    space: Space | None = None,
    metric: Metric = "AP",
    threads: int = 1,
) -> ExactSearch:
    """Find the exact best λ for every size and γ of a lattice over the space.

    Args:
        table: its scores must all be there.
        reranker: of the only stage; None: the table's only one, or the space's.
        space: ranges of γ and sizes; None: :func:`~.make_space.search_space`.
        metric: ``AP`` or ``LocScore``.
        threads: how many share the work.

    Raises:
        SettingError: no such reranker.
        TableError: scores or overlaps that are needed are not there.
    """
    (stage,) = (space or search_space(table, reranker)).stages
    name = stage.reranker
    gammas, sizes = lattice(stage.gammas, stage.sizes)
    for size in sizes:
        check_depth(table, name, int(size))
    found = exact_of(table, name, gammas, sizes, metric, check_threads(threads))
    best = best_plateau(found)
    lam = settled(best)
    value = _value(table, name, lam, best.gamma, best.shortlist_size, metric)
    return ExactSearch(name, tuple(found), lam, value, metric)


def best_plateau(found: Sequence[ExactLambda]) -> ExactLambda:
    """Return the one with the highest plateau; of equals the first."""
    return max(found, key=lambda one: one.plateau.value)


def exact_of(
    table: ScoreTable,
    reranker: str,
    gammas: Doubles,
    sizes: Rows,
    metric: Metric = "AP",
    threads: int = 1,
) -> list[ExactLambda]:
    """Return :func:`~.exact_lambda.best_lambdas` on a table, best first.

    Raises:
        TableError: scores or overlaps that are needed are not there.
        SettingError: no size or γ above 0.
    """
    require_scores(table, reranker, int(np.max(sizes)))
    return best_lambdas(table.judged(reranker, metric), gammas, sizes, EPSILON, threads)


def settled(found: ExactLambda) -> float:
    """Return the λ to use: an end of [0, 1] that is as good, else the middle of the plateau.

    As good is what is at most ``EPSILON`` below the best: the local score alone, or the first
    stage alone, are simpler than a λ a hair away from them.
    """
    for end, value in zip((0.0, 1.0), found.ends, strict=True):
        if value >= found.value - EPSILON:
            return end
    return found.plateau.lam


def solve_lam(
    table: ScoreTable, before: Sequence[StageSpec], stage: StageSpec, metric: Metric = "AP"
) -> float:
    """Return the exact best λ of a stage behind others, for its γ and size.

    See :func:`settled`: not the highest needle, but the best plateau.

    Raises:
        SettingError: LocScore behind other stages, whose boxes count as well.
        TableError: scores or overlaps lack.
    """
    earlier = [one for one in before if one.used]
    if earlier and metric == "LocScore":
        raise SettingError("LocScore has no exact λ behind other stages, whose boxes count too")
    derived = after_stages(table, earlier) if earlier else table
    size = stage.fusion.size_of(table.size)
    check_depth(table, stage.reranker, size, first=not earlier)
    pair = np.array([stage.gamma]), np.array([size])
    (found,) = exact_of(derived, stage.reranker, *pair, metric)
    return settled(found)


def _value(
    table: ScoreTable, reranker: str, lam: float, gamma: float, size: int, metric: Metric
) -> float:
    values = evaluate_grid(table, [lam], [gamma], [size], reranker, metric)
    return mean_over_queries(values.reshape(-1))


def lattice(gammas: tuple[float, float], sizes: tuple[int, int]) -> tuple[Doubles, Rows]:
    """Return values of γ and sizes between these ends, both ends among them."""
    lowest = max(sizes[0], min(10, sizes[1]))
    slopes = np.unique(np.geomspace(*gammas, GAMMAS))
    heads = np.unique(np.round(np.geomspace(lowest, sizes[1], SIZES)).astype(np.int64))
    return slopes, heads
