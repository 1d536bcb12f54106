"""Average precision of ranked lists, by a named convention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.metrics.convention import FULL, APConvention
from patchrerank.metrics.lists import (
    Doubles,
    FoundPositives,
    Ints,
    RankedLists,
    aligned,
    count_along,
    mean_over_queries,
    ranked_lists,
)


def average_precisions(
    relevant: npt.ArrayLike,
    n_positives: npt.ArrayLike,
    convention: APConvention = FULL,
    *,
    scores: npt.ArrayLike | None = None,
    junk: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
) -> Doubles:
    """Return the average precision of each list, float64 ``(Q,)`` in [0, 1]; higher is better.

    AP = (1/n) Σ P(r)·rel(r) over the ranks r; what P(r) and n are is the convention's choice,
    see :class:`APConvention`.

    Args:
        relevant: bool ``(Q, R)``, best first.
        n_positives: int ``(Q,)``, positives in the whole gallery, whether listed or not. A query
            with 0 gets NaN.
        convention: the definition; print it beside the number.
        scores: float ``(Q, R)`` that the lists are ordered by; needed for ties as one threshold,
            where a tie is a run of equal scores (junk and empty slots aside).
        junk: bool ``(Q, R)``: removed before ranks are counted, wherever it stands.
        valid: bool ``(Q, R)``, False in empty slots (``rows != -1``); None: all are filled.
            Only the ``min_length`` normaliser and ties see a difference from irrelevant tails.
        weights: float ``(Q, R)`` in [0, 1] by which each positive's term is multiplied (see
            :mod:`patchrerank.metrics.localisation`).

    Raises:
        ShortlistError: an array has the wrong shape.
        SettingError: a list holds more relevant entries than ``n_positives``, or ties are to be
            one threshold and there are no scores.
    """
    lists = ranked_lists(relevant, n_positives, junk, valid)
    return precisions_of(lists, convention, scores, [weights])[0]


def precisions_of(
    lists: RankedLists,
    convention: APConvention,
    scores: npt.ArrayLike | None = None,
    weights: Sequence[npt.ArrayLike | None] = (None,),
) -> list[Doubles]:
    """Return :func:`average_precisions` of lists that are checked already, under several weights.

    Args:
        lists: see :class:`~patchrerank.metrics.lists.RankedLists`.
        convention, scores: as for :func:`average_precisions`.
        weights: each as there; None: 1.

    Raises:
        ShortlistError, SettingError: as there, of scores and weights.
    """
    shape = lists.relevant.shape
    if convention.cut == "places" and convention.cutoff is not None:
        lists = lists.first_places(convention.cutoff)
    positives = lists.positives().up_to(convention.cutoff)
    if convention.ties == "threshold":
        terms = _tied_precisions(lists, positives, scores, convention)
    else:
        terms = positives.found / positives.rank
    if convention.interpolation == "trapezoidal":
        terms = (_precisions_before(positives) + terms) / 2
    bound = np.maximum(_normalisers(lists, convention), 1)
    found = []
    for given in weights:
        paid = terms
        if given is not None:
            shares = aligned("weights", given, shape).reshape(-1)[positives.slot]
            paid = terms * shares.astype(np.float64)
        total = np.bincount(positives.query, weights=paid, minlength=len(lists.relevant))
        found.append(np.where(lists.n_positives > 0, total / bound, np.nan))
    return found


def average_precision(
    relevant: npt.ArrayLike,
    n_positives: int,
    convention: APConvention = FULL,
    *,
    scores: npt.ArrayLike | None = None,
    junk: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Return the average precision of one list; NaN without positives.

    The arguments and errors are those of :func:`average_precisions`, with ``(R,)`` for
    ``(Q, R)``.
    """
    values = average_precisions(
        np.asarray(relevant)[None],
        np.array([n_positives]),
        convention,
        scores=_one(scores),
        junk=_one(junk),
        valid=_one(valid),
        weights=_one(weights),
    )
    return float(values[0])


def mean_average_precision(
    relevant: npt.ArrayLike,
    n_positives: npt.ArrayLike,
    convention: APConvention = FULL,
    *,
    scores: npt.ArrayLike | None = None,
    junk: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
) -> float:
    """Return the mean of :func:`average_precisions` over the queries that have positives.

    In [0, 1], higher is better; NaN if no query has positives.
    """
    return mean_over_queries(
        average_precisions(relevant, n_positives, convention, scores=scores, junk=junk, valid=valid)
    )


def _one(marks: npt.ArrayLike | None) -> npt.NDArray[np.generic] | None:
    return None if marks is None else np.asarray(marks)[None]


def _precisions_before(positives: FoundPositives) -> Doubles:
    """Return the precision just above each positive; 1 above rank 1."""
    before = (positives.found - 1) / np.maximum(positives.rank - 1, 1)
    return np.where(positives.rank == 1, 1.0, before)


def _tied_precisions(
    lists: RankedLists,
    positives: FoundPositives,
    scores: npt.ArrayLike | None,
    convention: APConvention,
) -> Doubles:
    """Return the precision at the end of the tie that each positive stands in."""
    if scores is None:
        raise SettingError(f"AP convention {convention}: ties as one threshold need the scores")
    slots, ranks = _counted_slots(lists, convention.cutoff)
    values = aligned("scores", scores, lists.relevant.shape).reshape(-1)[slots]
    last = np.ones(len(slots), dtype=np.bool_)
    last[:-1] = (values[1:] != values[:-1]) | (ranks[1:] == 1)
    ends = np.flatnonzero(last)
    place = np.searchsorted(slots, positives.slot)
    end = ends[np.searchsorted(ends, place)]
    in_tie = np.searchsorted(place, end, side="right") - np.arange(1, len(place) + 1)
    return np.asarray((positives.found + in_tie) / ranks[end], dtype=np.float64)


def _counted_slots(lists: RankedLists, cutoff: int | None) -> tuple[Ints, Ints]:
    """Return flat slots that count and lie within the cutoff, and their ranks from 1."""
    counted = lists.counted
    if counted is None:
        counted = np.ones(lists.relevant.shape, dtype=np.bool_)
    places = count_along(counted)
    inside = counted if cutoff is None else counted & (places <= cutoff)
    return np.flatnonzero(inside), places[inside]


def _normalisers(lists: RankedLists, convention: APConvention) -> Ints:
    bound = lists.n_positives
    if convention.normaliser == "min_length":
        bound = np.minimum(bound, lists.lengths)
    if convention.normaliser != "positives" and convention.cutoff is not None:
        bound = np.minimum(bound, convention.cutoff)
    return bound
