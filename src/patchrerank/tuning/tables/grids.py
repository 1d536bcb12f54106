"""Whole grids of λ, γ and shortlist size on a score table, by counting instead of sorting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np

from patchrerank.errors import SettingError, TableError
from patchrerank.fusion import Fusion
from patchrerank.kernels.checks import check_threads
from patchrerank.metrics.lists import Doubles
from patchrerank.tuning.fused.fusion_counter import FusionCounter
from patchrerank.tuning.fused.query_scores import Metric
from patchrerank.tuning.tables.score_table import ScoreTable


def evaluate_grid(
    table: ScoreTable,
    lams: Sequence[float],
    gammas: Sequence[float],
    sizes: Sequence[int | None],
    reranker: str | None = None,
    metric: Metric = "AP",
    threads: int = 1,
) -> Doubles:
    """Return the metric of every combination, float64 ``(sizes, gammas, lams, Q)``.

    Args:
        table: scores, relevance, overlaps.
        lams, gammas, sizes: the grid; None among ``sizes`` is the whole list.
        reranker: whose local scores; None: the only one's.
        metric: ``AP`` or ``LocScore`` (candidates behind the cut have no box).
        threads: how many threads count; results do not depend on it.

    Raises:
        SettingError: a setting is out of range, or the reranker or metric is unknown.
        TableError: scores or overlaps that are needed are not there.
    """
    name = table.reranker(reranker)
    if metric not in get_args(Metric):
        raise SettingError(f"metric {metric!r} is unknown; use {' or '.join(get_args(Metric))}")
    cuts = _checked(table, lams, gammas, sizes, name)
    counter = FusionCounter(table.judged(name, metric), np.asarray(cuts, dtype=np.int64))
    return counter.values(
        np.asarray(lams, dtype=np.float64),
        np.asarray(gammas, dtype=np.float64),
        check_threads(threads),
    )


def require_scores(table: ScoreTable, reranker: str, size: int) -> None:
    """Refuse to go on where scores of the first ``size`` slots were not computed yet.

    Raises:
        TableError: says which reranker's, how many, and what to do.
    """
    if size > table.scored(reranker):
        raise missing_scores(reranker, int(table.missing(reranker, size).sum()))


def missing_scores(reranker: str, count: int) -> TableError:
    """Return the error for pairs that were not computed yet."""
    return TableError(
        f"{count} pairs have no local score of {reranker!r} yet; compute them with "
        "patchrerank.tuning.TableFiller.fill, pass the filler as missing=…, or name the reranker "
        "among the eager ones when the table is built"
    )


def check_depth(table: ScoreTable, reranker: str, size: int, *, first: bool = True) -> None:
    """Refuse scores that hold for another list than the one that would be rescored.

    Raises:
        TableError: the reranker looks at the list, and this is not the list it was scored on.
    """
    depth = min(table.list_depths.get(reranker, 0), table.size)
    if depth and size and not first:
        raise TableError(
            f"{reranker!r} looks at the order of the list, and its scores in this table hold for "
            "the first stage's order only; it can be the first stage of a cascade, no later one"
        )
    if 0 < size < depth:
        raise TableError(
            f"{reranker!r} looks at the first {depth} candidates, so its scores in this table do "
            f"not hold for a list cut at {size}; use a shortlist size of at least {depth}"
        )


def _checked(
    table: ScoreTable,
    lams: Sequence[float],
    gammas: Sequence[float],
    sizes: Sequence[int | None],
    reranker: str,
) -> list[int]:
    """Check settings and scores; return the sizes as numbers up to K."""
    for lam in lams:
        Fusion(lam=lam)
    for gamma in gammas:
        Fusion(gamma=gamma)
    for size in sizes:
        Fusion(shortlist_size=size)
    cuts = [table.size if size is None else min(size, table.size) for size in sizes]
    for cut in cuts:
        check_depth(table, reranker, cut)
    require_scores(table, reranker, max(cuts, default=0))
    return cuts
