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
    ReliabilityBin,
    fit_calibration,
)
from patchrerank.errors import SettingError
from patchrerank.tuning.statistics import group_folds

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BINS = 10
FIRST = 10
"""Candidates of each query whose probabilities are also checked on their own."""


@dataclass(frozen=True)
class _Lists:
    """Scores and marks of Q shortlists, all ``(Q, K)``, best first; ``-inf`` where invalid."""

    scores: Doubles
    relevant: Bools
    valid: Bools

    def take(self, queries: Bools) -> _Lists:
        return _Lists(self.scores[queries], self.relevant[queries], self.valid[queries])

    def best(self) -> tuple[Doubles, Doubles]:
        """Return the best score of each list, of those with a relevant candidate as they are.

        And of those that have any candidate left when the relevant ones are removed.
        """
        if not self.scores.shape[1]:
            return np.empty(0), np.empty(0)
        others = np.where(self.relevant, -np.inf, self.scores).max(axis=1)
        whole = self.scores.max(axis=1)
        return whole[self.relevant.any(axis=1)], others[np.isfinite(others)]


def calibrate(
    scores: npt.ArrayLike,
    relevant: npt.ArrayLike,
    valid: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    folds: int = 5,
    seed: int = 0,
) -> Calibration:
    """Fit a calibration to all queries, and check it by fitting it ``folds`` times without some.

    Args:
        scores: float ``(Q, K)`` fused scores of one fusion or cascade; higher is better. The
            order of a list does not matter.
        relevant: bool ``(Q, K)``.
        valid: bool ``(Q, K)``: the last stage rescored the candidate, and it is not junk. Others
            do not count at all.
        groups: ``(Q,)`` which object each query asks for; an object's queries are held out
            together.
        folds: how many.
        seed: of the split.

    Returns:
        The calibration of all queries, its ``nothing_below`` where the best probabilities of
        lists with a relevant candidate are told best from those of the same lists without, and
        its ``check``: see :class:`~patchrerank.calibration.CalibrationCheck`.

    Raises:
        SettingError: shapes differ, a valid score is not finite, candidates of one kind only
            (also in all folds but one), or fewer objects than folds.
    """
    lists = _checked(scores, relevant, valid, groups)
    fold = group_folds(groups, folds, seed)
    probabilities = np.full(lists.scores.shape, np.nan)
    answers = []
    for number in range(folds):
        held = fold == number
        fitted = _fitted(lists.take(~held))
        probabilities[held] = fitted.probabilities(lists.scores[held])
        there, gone = map(fitted.probabilities, lists.take(held).best())
        threshold = fitted.nothing_below
        answers.append((there, gone, there >= threshold, gone < threshold))
    check = CalibrationCheck(
        all=_reliability(probabilities[lists.valid], lists.relevant[lists.valid]),
        first=_reliability(*_first(lists, probabilities)),
        nothing=_nothing_found(*(np.concatenate(parts) for parts in zip(*answers, strict=True))),
        folds=folds,
        seed=seed,
    )
    return replace(_fitted(lists), check=check)


def reliability(
    probabilities: npt.ArrayLike, relevant: npt.ArrayLike, bins: int = BINS
) -> Reliability:
    """Compare probabilities with what came true; see :class:`Reliability`.

    Args:
        probabilities: float ``(n,)`` in [0, 1], n at least 1.
        relevant: bool ``(n,)``.
        bins: how many, at least 1; fewer where probabilities are equal, since equal ones share
            a bin.

    Raises:
        SettingError: a setting is out of range, or lengths differ.
    """
    predicted = np.asarray(probabilities, dtype=np.float64).reshape(-1)
    marks = np.asarray(relevant, dtype=np.bool_).reshape(-1)
    if not len(predicted) == len(marks) > 0 or bins < 1:
        raise SettingError(
            f"{len(predicted)} probabilities, {len(marks)} marks of relevance and {bins} bins; "
            "at least one of each is needed, and a mark for each probability"
        )
    if not ((predicted >= 0) & (predicted <= 1)).all():
        raise SettingError("probabilities must lie in [0, 1]")
    return _reliability(predicted, marks, bins)


def _reliability(predicted: Doubles, relevant: Bools, bins: int = BINS) -> Reliability:
    order = np.argsort(predicted, kind="stable")
    ordered, truth = predicted[order], relevant[order].astype(np.float64)
    wanted = np.linspace(0, len(ordered), bins + 1)[:-1].astype(np.int64)
    begins = np.unique(np.searchsorted(ordered, ordered[wanted], side="left"))
    counts = np.diff(np.append(begins, len(ordered)))
    means = np.add.reduceat(ordered, begins) / counts
    shares = np.add.reduceat(truth, begins) / counts
    rate = float(truth.mean())
    return Reliability(
        candidates=len(ordered),
        brier=float(np.mean((ordered - truth) ** 2)),
        base_brier=rate * (1 - rate),
        calibration_error=float(np.abs(means - shares) @ counts / len(ordered)),
        bins=tuple(
            ReliabilityBin(float(mean), float(share), int(count))
            for mean, share, count in zip(means, shares, counts, strict=True)
        ),
    )


def _fitted(lists: _Lists) -> Calibration:
    """Return the calibration of some lists with the threshold that tells them best apart."""
    fitted = fit_calibration(lists.scores[lists.valid], lists.relevant[lists.valid])
    there, gone = map(fitted.probabilities, lists.best())
    return replace(fitted, nothing_below=_threshold(there, gone))


def _threshold(there: Doubles, gone: Doubles) -> float:
    """Return where ``there`` (at or above) and ``gone`` (below) are told best apart.

    In the middle between two values; of several equally good places the middle one. 0 where one
    of them is empty.
    """
    if not len(there) or not len(gone):
        return 0.0
    values = np.unique(np.concatenate([there, gone]))
    places = (values[:-1] + values[1:]) / 2
    if not len(places):
        return 0.0
    answered = 1 - np.searchsorted(np.sort(there), places) / len(there)
    refused = np.searchsorted(np.sort(gone), places) / len(gone)
    both = answered + refused
    best = np.flatnonzero(both >= both.max() - 1e-12)
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
        accuracy=float((answered.mean() + refused.mean()) / 2),
        lists_with=len(there),
        lists_without=len(gone),
    )


def _first(lists: _Lists, probabilities: Doubles) -> tuple[Doubles, Bools]:
    """Return probabilities and marks of the best candidates of each list."""
    order = np.argsort(-lists.scores, axis=1, kind="stable")[:, :FIRST]
    valid = np.take_along_axis(lists.valid, order, axis=1)
    found = np.take_along_axis(probabilities, order, axis=1)[valid]
    return found, np.take_along_axis(lists.relevant, order, axis=1)[valid]


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
