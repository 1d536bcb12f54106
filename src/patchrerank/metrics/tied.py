"""What ties leave open: the range of average precision over the orders that are equally right.

Candidates that tie in all scores stand in the order in which the gallery lists them. Where
relevant and irrelevant ones tie, average precision depends on that order; its extremes are taken
where in every tie the relevant ones come first, and where they come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchrerank.metrics.average_precision import average_precisions
from patchrerank.metrics.convention import FULL, APConvention
from patchrerank.metrics.lists import Bools, Ints, aligned, mean_over_queries, ranked_lists


@dataclass(frozen=True)
class TiedRange:
    """What ties leave open.

    Attributes:
        queries: whose average precision depends on the order within ties.
        lowest: mean average precision over the queries that have positives, in [0, 1], with the
            relevant candidates last in every tie; NaN if no query has positives.
        highest: likewise, with them first.
    """

    queries: int
    lowest: float
    highest: float


def tied_range(
    relevant: npt.ArrayLike,
    n_positives: npt.ArrayLike,
    convention: APConvention = FULL,
    *,
    scores: Sequence[npt.ArrayLike],
    junk: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
) -> TiedRange:
    """Return how far mean average precision depends on the order of candidates that tie.

    Args:
        relevant, n_positives, convention, junk, valid: as :func:`average_precisions` takes them.
        scores: float ``(Q, R)`` arrays, the first of them what the lists are ordered by;
            neighbours tie where they are equal in all (NaN equals NaN).

    Raises:
        ShortlistError: an array has the wrong shape.
        SettingError: as :func:`average_precisions`.
    """
    marks = np.asarray(relevant, dtype=np.bool_)
    lists = ranked_lists(marks, n_positives, junk, valid)
    groups = _groups([aligned("scores", array, marks.shape) for array in scores], valid)
    ones = _straddled(groups, lists.relevant, lists.counted)
    best, worst = (
        np.array(
            average_precisions(
                marks, n_positives, convention, scores=scores[0], junk=junk, valid=valid
            )
        )
        for _ in range(2)
    )
    some = None if junk is None else np.asarray(junk, dtype=np.bool_)[ones]
    filled = None if valid is None else np.asarray(valid, dtype=np.bool_)[ones]
    first = np.asarray(scores[0])[ones]
    for found, sign in ((best, -1), (worst, 1)):
        keys = 2 * groups[ones] + (sign * lists.relevant[ones].astype(np.int64))
        order = np.argsort(keys, axis=1, kind="stable")
        found[ones] = average_precisions(
            np.take_along_axis(lists.relevant[ones], order, axis=1),
            np.asarray(n_positives)[ones],
            convention,
            scores=first,  # the same at every place, whatever the order within ties
            junk=None if some is None else np.take_along_axis(some, order, axis=1),
            valid=filled,
        )
    differing = int((best > worst + 1e-12).sum())
    return TiedRange(differing, mean_over_queries(worst), mean_over_queries(best))


def _groups(scores: Sequence[npt.NDArray[np.floating]], valid: npt.ArrayLike | None) -> Ints:
    """Return the number of the tie that each place stands in, counted along each list."""
    shape = scores[0].shape
    same = np.ones((shape[0], max(shape[1] - 1, 0)), dtype=np.bool_)
    for array in scores:
        left, right = array[:, :-1], array[:, 1:]
        same &= (left == right) | (np.isnan(left) & np.isnan(right))
    if valid is not None:
        filled = np.asarray(valid, dtype=np.bool_)
        same &= filled[:, :-1] & filled[:, 1:]
    groups = np.zeros(shape, dtype=np.int64)
    np.cumsum(~same, axis=1, out=groups[:, 1:])
    return groups


def _straddled(groups: Ints, relevant: Bools, counted: Bools | None) -> npt.NDArray[np.intp]:
    """Return the lists in which some tie holds relevant and irrelevant candidates."""
    queries, width = groups.shape
    flat = groups + width * np.arange(queries)[:, None]
    others = ~relevant if counted is None else counted & ~relevant
    both = [np.bincount(flat[m], minlength=queries * width) > 0 for m in (relevant, others)]
    return np.flatnonzero((both[0] & both[1]).reshape(queries, width).any(axis=1))
