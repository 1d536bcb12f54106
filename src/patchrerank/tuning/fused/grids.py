"""Whole grids of λ, γ and shortlist size on a score table, by counting instead of sorting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np

from patchrerank.errors import SettingError, TableError
from patchrerank.fusion import Fusion
from patchrerank.metrics.lists import Doubles
from patchrerank.tuning.fused.fused_ap import fused_average_precisions
from patchrerank.tuning.fused.query_scores import Metric
from patchrerank.types import Floats

if TYPE_CHECKING:
    from patchrerank.tuning.tables.score_table import ScoreTable


def evaluate_grid(
    table: ScoreTable,
    lams: Sequence[float],
    gammas: Sequence[float],
    sizes: Sequence[int | None],
    reranker: str,
    metric: Metric = "AP",
    threads: int = 1,
) -> Doubles:
    """Return the metric of every combination, float64 ``(sizes, gammas, lams, Q)``.

    See :meth:`patchrerank.tuning.tables.score_table.ScoreTable.evaluate_grid`.
    """
    if metric not in get_args(Metric):
        raise SettingError(f"metric {metric!r} is unknown; use {' or '.join(get_args(Metric))}")
    cuts = _checked(table, lams, gammas, sizes, reranker)
    return fused_average_precisions(
        table.global_scores,
        table.local_scores[reranker],
        table.relevant,
        table.junk | ~table.valid,
        table.n_positives,
        np.asarray(lams, dtype=np.float64),
        np.asarray(gammas, dtype=np.float64),
        np.asarray(cuts, dtype=np.int64),
        table.convention,
        weights=overlaps_of(table, reranker) if metric == "LocScore" else None,
        threads=threads,
        tail_pays=False,
    )


def overlaps_of(table: ScoreTable, reranker: str) -> Floats:
    """Return a reranker's overlaps.

    Raises:
        TableError: the table knows none of this reranker.
    """
    if reranker not in table.overlaps:
        raise TableError(
            f"this table knows no overlaps of {reranker!r}, so it has no LocScore; build it from "
            "a gallery, or pass overlaps when it is made from arrays"
        )
    return table.overlaps[reranker]


def require_scores(table: ScoreTable, reranker: str, size: int) -> None:
    """Refuse to go on where scores of the first ``size`` slots were not computed yet.

    Raises:
        TableError: says which reranker's, how many, and what to do.
    """
    lacking = int(table.missing(reranker, size).sum())
    if lacking:
        raise missing_scores(reranker, lacking)


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
