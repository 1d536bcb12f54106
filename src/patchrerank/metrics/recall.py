"""Recall and precision among the first k."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.metrics.lists import Doubles, RankedLists, mean_over_queries, ranked_lists


def recalls_at(
    relevant: npt.ArrayLike,
    k: int,
    *,
    n_positives: npt.ArrayLike | None = None,
    junk: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
) -> Doubles:
    """Return for each list 1 if a positive is among its first ``k``, else 0; float64 ``(Q,)``.

    This is the recall of metric learning (ELViS' r@k), not the share of positives found. Junk is
    removed first. NaN where ``n_positives`` is 0; without ``n_positives`` every query is taken to
    have some. The arrays are those of :func:`patchrerank.metrics.average_precisions`.

    Raises:
        SettingError: ``k`` is below 1, or ``n_positives`` smaller than what a list holds.
        ShortlistError: an array has the wrong shape.
    """
    lists = _lists(relevant, n_positives, junk, valid)
    near = lists.positives().up_to(_checked(k))
    found = np.bincount(near.query, minlength=len(lists.relevant)) > 0
    return np.where(lists.n_positives > 0, found.astype(np.float64), np.nan)


def recall_at(
    relevant: npt.ArrayLike,
    k: int,
    *,
    n_positives: npt.ArrayLike | None = None,
    junk: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
) -> float:
    """Return the share of queries with a positive among the first ``k``, see :func:`recalls_at`.

    In [0, 1], higher is better. Queries without positives are left out; NaN if none has any.
    """
    return mean_over_queries(
        recalls_at(relevant, k, n_positives=n_positives, junk=junk, valid=valid)
    )


def precisions_at(
    relevant: npt.ArrayLike,
    k: int,
    *,
    n_positives: npt.ArrayLike | None = None,
    junk: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
) -> Doubles:
    """Return the precision of each list at ``k`` as revisited Oxford and Paris define it.

    Junk is removed first; then k' = min(rank of the last positive found, k), and the value is the
    share of positives among the first k'. A list that holds no positive has 0, a query without
    positives NaN. float64 ``(Q,)`` in [0, 1], higher is better. Source: Radenović et al., CVPR
    2018; the arrays and errors are those of :func:`recalls_at`.
    """
    lists = _lists(relevant, n_positives, junk, valid)
    found = lists.positives()
    last = np.zeros(len(lists.relevant), dtype=np.int64)
    np.maximum.at(last, found.query, found.rank)
    near = np.bincount(found.up_to(_checked(k)).query, minlength=len(last))
    values = near / np.clip(last, 1, k)
    return np.where(lists.n_positives > 0, values, np.nan)


def precision_at(
    relevant: npt.ArrayLike,
    k: int,
    *,
    n_positives: npt.ArrayLike | None = None,
    junk: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
) -> float:
    """Return the mean of :func:`precisions_at` over the queries that have positives."""
    return mean_over_queries(
        precisions_at(relevant, k, n_positives=n_positives, junk=junk, valid=valid)
    )


def _lists(
    relevant: npt.ArrayLike,
    n_positives: npt.ArrayLike | None,
    junk: npt.ArrayLike | None,
    valid: npt.ArrayLike | None,
) -> RankedLists:
    if n_positives is None:
        shape = np.asarray(relevant).shape
        n_positives = np.full(shape[:1], max(*shape, 1))
    return ranked_lists(relevant, n_positives, junk, valid)


def _checked(k: int) -> int:
    if k < 1:
        raise SettingError(f"k must be at least 1, got {k}")
    return k
