"""Is the difference real? Folds, intervals and tests that keep an object's queries together.

Queries for one object share its positives, so their values are not independent: they go into one
fold, are drawn together by the bootstrap and change sign together in the permutation test.
Everything here works on the scale of what it is given, such as 0–1 (not percent).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CONFIDENCE = 0.95
RESAMPLES = 9999
BATCH = 1000
"""Resamples held in memory at once."""
SAME = 1e-12
"""Group means that differ by less, relatively, differ by rounding errors."""


@dataclass(frozen=True)
class Gain:
    """What one ranking gains over another, query by query.

    Attributes:
        mean: mean over queries of after − before, on the scale of the values (0–1); higher is
            better.
        low: lower end of the confidence interval of the mean.
        high: upper end.
        p_value: how probable a mean at least as far from 0, either way, would be if before and
            after were interchangeable; in (0, 1].
        wins: queries with a higher value after.
        losses: queries with a lower one.
        ties: queries with the same.
    """

    mean: float
    low: float
    high: float
    p_value: float
    wins: int
    losses: int
    ties: int


def gain(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Gain:
    """Compare two rankings of the same queries.

    Args:
        before: float ``(Q,)``, a value for each query, such as its average precision in 0–1;
            NaN where it has none (no positives). Queries with a NaN on either side are left out.
        after: likewise, of the other ranking.
        groups: ``(Q,)`` which object each query asks for; None: all different.
        seed: of the resampling.
        confidence: of the interval, in (0, 1).
        resamples: of the bootstrap and, unless there are few enough to try all, of the test.

    Raises:
        SettingError: lengths differ, or fewer than two groups are left.
    """
    first, second, ids = _paired(before, after, groups)
    differences = second - first
    low, high = bootstrap_interval(
        differences, ids, confidence=confidence, resamples=resamples, seed=seed
    )
    return Gain(
        mean=float(differences.mean()),
        low=low,
        high=high,
        p_value=paired_permutation_test(first, second, ids, resamples=resamples, seed=seed),
        wins=int((differences > 0).sum()),
        losses=int((differences < 0).sum()),
        ties=int((differences == 0).sum()),
    )


def bootstrap_interval(
    per_query_differences: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Return a confidence interval of the mean over queries, on the values' own scale.

    Whole groups are drawn with replacement; a resample's mean is over all queries drawn. The
    interval is bias-corrected and accelerated (BCa; Efron 1987), the jackknife leaving out one
    group at a time. Serves plain values, such as average precisions, as well as differences.

    Args:
        per_query_differences: float ``(Q,)``; NaN queries are left out.
        groups: ``(Q,)`` which object each query asks for; None: all different.
        confidence: in (0, 1).
        resamples: how many.
        seed: of the drawing.

    Raises:
        SettingError: a setting is out of range, lengths differ, or fewer than two groups are
            left, which say nothing about spread.
    """
    from scipy import stats

    if not 0 < confidence < 1:
        raise SettingError(f"confidence must lie between 0 and 1, got {confidence}")
    _check_resamples(resamples)
    values, _, ids = _paired(per_query_differences, per_query_differences, groups)
    sums, counts = _sums(values, ids)
    if len(sums) < 2:
        raise SettingError(f"an interval needs queries for at least 2 objects, got {len(sums)}")
    means = sums / counts
    if np.ptp(means) <= SAME * np.abs(means).max():  # every resample has the same mean
        return float(means.min()), float(means.max())
    found = stats.bootstrap(
        (sums, counts),
        _ratio,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=BATCH,
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def paired_permutation_test(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of the mean of after − before, in (0, 1].

    If before and after were interchangeable, swapping them for all queries of an object would
    change nothing: the differences of each group change sign together, at random. With at most
    ``resamples`` such patterns (2 to the power of the number of groups) all are tried and the
    p-value is exact; else it is twice (1 + as extreme ones on that side) / (1 + resamples).

    Args:
        before: float ``(Q,)``; queries with a NaN on either side are left out.
        after: likewise.
        groups: ``(Q,)`` which object each query asks for; None: all different.
        resamples: how many patterns are tried.
        seed: of the drawing.

    Raises:
        SettingError: lengths differ, or no query is left.
    """
    from scipy import stats

    _check_resamples(resamples)
    first, second, ids = _paired(before, after, groups)
    sums, _ = _sums(second - first, ids)
    if len(sums) == 1 or not sums.any():
        return 1.0
    found = stats.permutation_test(
        (sums,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=BATCH,
        alternative="two-sided",
        rng=np.random.default_rng(seed),
    )
    return min(1.0, float(found.pvalue))


def group_folds(groups: npt.ArrayLike, folds: int = 5, seed: int = 0) -> Ints:
    """Return the fold of each query, int64 ``(Q,)`` in 0 … folds − 1.

    Queries of one group share a fold. Groups are dealt in random order, large ones first, each to
    the fold with the fewest queries so far; no fold stays empty.

    Args:
        groups: ``(Q,)`` which object each query asks for.
        folds: how many, at least 2.
        seed: of the order.

    Raises:
        SettingError: fewer groups than folds, or fewer than 2 folds.
    """
    _, ids = np.unique(np.asarray(groups).reshape(-1), return_inverse=True)
    counts = np.bincount(ids)
    if folds < 2:
        raise SettingError(f"folds must be at least 2, got {folds}")
    if len(counts) < folds:
        raise SettingError(
            f"{len(counts)} objects cannot fill {folds} folds; use at most {len(counts)} folds"
        )
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    dealt = shuffled[np.argsort(-counts[shuffled], kind="stable")]
    fold_of, filled = np.empty(len(counts), dtype=np.int64), np.zeros(folds, dtype=np.int64)
    for group in dealt:
        fold_of[group] = int(np.argmin(filled))
        filled[fold_of[group]] += counts[group]
    return fold_of[ids]


def _paired(
    before: npt.ArrayLike, after: npt.ArrayLike, groups: npt.ArrayLike | None
) -> tuple[Doubles, Doubles, Ints]:
    """Return both without NaN queries, and the number of each one's group, from 0 on."""
    first = np.asarray(before, dtype=np.float64).reshape(-1)
    second = np.asarray(after, dtype=np.float64).reshape(-1)
    names = np.arange(len(first)) if groups is None else np.asarray(groups).reshape(-1)
    if not len(first) == len(second) == len(names):
        raise SettingError(
            f"values of {len(first)} and {len(second)} queries and {len(names)} groups; they "
            "must belong to the same queries, in the same order"
        )
    known = ~(np.isnan(first) | np.isnan(second))
    if not known.any():
        raise SettingError("no query has a value on both sides; there is nothing to compare")
    _, ids = np.unique(names[known], return_inverse=True)
    return first[known], second[known], ids.astype(np.int64)


def _sums(values: Doubles, ids: Ints) -> tuple[Doubles, Doubles]:
    """Return the sum and the number of the values of each group."""
    sums: Doubles = np.bincount(ids, weights=values).astype(np.float64)
    return sums, np.bincount(ids).astype(np.float64)


def _ratio(sums: Doubles, counts: Doubles, axis: int = -1) -> Doubles:
    return np.asarray(sums.sum(axis=axis) / counts.sum(axis=axis))


def _check_resamples(resamples: int) -> None:
    if resamples < 1:
        raise SettingError(f"resamples must be at least 1, got {resamples}")
