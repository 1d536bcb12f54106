"""Fitting the match probability, and measuring it on queries that it was not fitted on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from patchrerank.calibration import (
    Calibration,
    CalibrationCheck,
    NothingFound,
    Reliability,
    fit_calibration,
    fit_level,
    reliability,
)
from patchrerank.errors import SettingError
from patchrerank.records import check_within
from patchrerank.tuning.statistics import group_folds

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FIVE, TEN = 5, 10
"""First candidates of each query whose probabilities are also checked on their own."""

ABSENT = 0.075
"""Weight of lists without an answer beside those that are as they are."""

HEAD = 100
"""A fit looks at so many best candidates of each list: behind them, nothing is at stake."""

ANSWERS, PAST, REACH = 5, 3, 4
"""A list's level begins behind ``PAST`` times as many candidates as nine lists in ten have
answers (``ANSWERS`` at least), and ends at ``REACH`` times that rank."""

KEPT, REFUSED = 0.9, 0.8
"""What "nothing found" should do: answer this share of lists with an answer, and refuse that
share of those without; the threshold leaves the same margin to both, or lacks the same."""


@dataclass(frozen=True)
class _Lists:
    """Scores and marks of Q shortlists, all ``(Q, K)``; ``-inf`` where invalid."""

    scores: Doubles
    relevant: Bools
    valid: Bools

    def take(self, queries: Bools) -> _Lists:
        return _Lists(self.scores[queries], self.relevant[queries], self.valid[queries])

    def without_answers(self) -> _Lists:
        """Return the same lists with all relevant candidates removed."""
        kept = self.valid & ~self.relevant
        scores = np.where(kept, self.scores, -np.inf)
        return _Lists(scores, np.zeros_like(self.relevant), kept)

    def head(self, count: int) -> _Lists:
        """Return the best ``count`` candidates of each list, best first."""
        order = np.argsort(-self.scores, axis=1, kind="stable")[:, :count]
        return _Lists(
            np.take_along_axis(self.scores, order, axis=1),
            np.take_along_axis(self.relevant, order, axis=1),
            np.take_along_axis(self.valid, order, axis=1),
        )

    def best(self) -> tuple[Doubles, Doubles]:
        """Return the best score of each list, of those with a relevant candidate as they are.

        And of those that have any candidate left when the relevant ones are removed.
        """
        if not self.scores.shape[1]:
            return np.empty(0), np.empty(0)
        others = self.without_answers().scores.max(axis=1)
        whole = self.scores.max(axis=1)
        return whole[self.relevant.any(axis=1)], others[np.isfinite(others)]


def calibrate(
    scores: npt.ArrayLike,
    relevant: npt.ArrayLike,
    valid: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    absent: float = ABSENT,
    folds: int = 5,
    seed: int = 0,
) -> Calibration:
    """Fit a calibration to all queries, and check it by fitting it ``folds`` times without some.

    Every list is learned from twice: as it is, and with its relevant candidates removed, since
    people also ask for what is not there.

    Args:
        scores: float ``(Q, K)`` fused scores of one fusion or cascade; higher is better. The
            order of a list does not matter, but for candidates of one score.
        relevant: bool ``(Q, K)``.
        valid: bool ``(Q, K)``: the last stage rescored the candidate, and it is not junk. Others
            do not count at all.
        groups: ``(Q,)`` which object each query asks for; an object's queries are held out
            together.
        absent: in [0, 1), how much the lists without relevant candidates weigh: the share of
            requests that ask for something that is not there.
        folds: how many.
        seed: of the split.

    Returns:
        The calibration of all queries, its ``nothing_below`` where the best scores of lists with
        a relevant candidate are told from those of the same lists without (see ``KEPT``), and
        its ``check``, on lists as they are: see
        :class:`~patchrerank.calibration.CalibrationCheck`.

    Raises:
        SettingError: shapes differ, a valid score is not finite, candidates of one kind only
            (also in all folds but one), an impossible share, or fewer objects than folds.
    """
    check_within(0, 0.99, absent=absent)
    lists = _checked(scores, relevant, valid, groups)
    fold = group_folds(groups, folds, seed)
    probabilities = np.full(lists.scores.shape, np.nan)
    answers = []
    for number in range(folds):
        held = lists.take(fold == number)
        fitted = _fitted(lists.take(fold != number), absent)
        probabilities[fold == number] = fitted.probabilities(held.scores, held.valid)
        there, gone = held.best()
        limit = -np.inf if fitted.nothing_below is None else fitted.nothing_below
        answers.append((there, gone, there >= limit, gone < limit))
    check = CalibrationCheck(
        all=reliability(probabilities[lists.valid], lists.relevant[lists.valid]),
        first_five=_first(lists, probabilities, FIVE),
        first_ten=_first(lists, probabilities, TEN),
        nothing=_nothing_found(*(np.concatenate(parts) for parts in zip(*answers, strict=True))),
        folds=folds,
        seed=seed,
    )
    return replace(_fitted(lists, absent), check=check)


def level_ranks(relevant: npt.ArrayLike) -> tuple[int, int, int]:
    """Return the last rank of usual answers, and the first and last of a list's level, from 1.

    Args:
        relevant: bool ``(Q, K)``, the answers of each list.
    """
    answers = np.asarray(relevant, dtype=np.bool_).sum(axis=1)
    usual = np.quantile(answers[answers > 0], 0.9, method="higher") if answers.any() else 1
    first = PAST * max(ANSWERS, int(usual))
    return int(usual), first, REACH * first


def _fitted(lists: _Lists, absent: float) -> Calibration:
    """Return the calibration of some lists as they are, and without their answers."""
    ranks = level_ranks(lists.relevant)
    reach = max(HEAD, ranks[-1])
    both = [part.head(reach) for part in (lists, lists.without_answers())]
    scores, relevant, valid = (
        np.concatenate([getattr(part, name) for part in both])
        for name in ("scores", "relevant", "valid")
    )
    weights = np.repeat([2 * (1 - absent), 2 * absent], len(lists.scores))
    mass = np.broadcast_to(weights[:, None], valid.shape)[valid]
    plain = fit_calibration(scores[valid], relevant[valid], mass)
    fitted = fit_level(plain, scores, relevant, valid, weights, ranks)
    return replace(fitted, absent=absent, nothing_below=_threshold(*lists.best()))


def _threshold(there: Doubles, gone: Doubles) -> float | None:
    """Return where ``there`` (at or above) and ``gone`` (below) are told best apart.

    In the middle between two values; of several equally good places the middle one. None where
    one of them is empty, or all are the same.
    """
    if not len(there) or not len(gone):
        return None
    values = np.unique(np.concatenate([there, gone]))
    places = (values[:-1] + values[1:]) / 2
    if not len(places):
        return None
    kept = 1 - np.searchsorted(np.sort(there), places) / len(there)
    refused = np.searchsorted(np.sort(gone), places) / len(gone)
    margin = np.minimum(kept - KEPT, refused - REFUSED)
    best = np.flatnonzero(margin >= margin.max() - 1e-12)
    return float(places[best[(len(best) - 1) // 2]])


def _nothing_found(
    there: Doubles, gone: Doubles, answered: Bools, refused: Bools
) -> NothingFound | None:
    if not len(there) or not len(gone):
        return None
    ordered = np.sort(gone)
    below = np.searchsorted(ordered, there, side="left")
    up_to = np.searchsorted(ordered, there, side="right")
    return NothingFound(
        auc=float((below + up_to).mean() / (2 * len(gone))),
        kept=float(answered.mean()),
        refused=float(refused.mean()),
        lists_with=len(there),
        lists_without=len(gone),
    )


def _first(lists: _Lists, probabilities: Doubles, count: int) -> Reliability:
    """Return how far probabilities of the best candidates of each list held."""
    order = np.argsort(-lists.scores, axis=1, kind="stable")[:, :count]
    valid = np.take_along_axis(lists.valid, order, axis=1)
    found = np.take_along_axis(probabilities, order, axis=1)[valid]
    return reliability(found, np.take_along_axis(lists.relevant, order, axis=1)[valid])


def _checked(
    scores: npt.ArrayLike, relevant: npt.ArrayLike, valid: npt.ArrayLike, groups: npt.ArrayLike
) -> _Lists:
    table = np.asarray(scores, dtype=np.float64)
    counts = np.asarray(valid, dtype=np.bool_)
    marks = np.asarray(relevant, dtype=np.bool_)
    names = np.asarray(groups)
    if table.ndim != 2 or not table.shape == counts.shape == marks.shape:
        raise SettingError(
            f"scores, relevant and valid need one shape (Q, K), got {table.shape}, {marks.shape} "
            f"and {counts.shape}"
        )
    if names.shape != (len(table),):
        raise SettingError(f"groups need the shape ({len(table)},), got {names.shape}")
    bad = np.argwhere(counts & ~np.isfinite(table))
    if bad.size:
        query, slot = (int(value) for value in bad[0])
        raise SettingError(
            f"query {query}: the score at position {slot} is {table[query, slot]}; mark "
            "candidates as valid only where the last stage rescored them"
        )
    return _Lists(np.where(counts, table, -np.inf), marks & counts, counts)
