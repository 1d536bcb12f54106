from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from patchrerank.errors import SettingError
from patchrerank.tuning.statistics import (
    Gain,
    bootstrap_interval,
    gain,
    group_folds,
    paired_permutation_test,
)

SIXTEENTHS = st.integers(-8, 8).map(lambda number: number / 16)
"""Sums of these are exact, so that ties are ties."""


def grouped(values, groups):
    return [[v for v, g in zip(values, groups, strict=True) if g == name] for name in set(groups)]


def exact_p(values, groups):
    """All sign patterns, one sign a group."""
    sums = [sum(group) for group in grouped(values, groups)]
    patterns = list(product((1, -1), repeat=len(sums)))
    found = abs(sum(sums))
    extreme = [abs(sum(s * v for s, v in zip(p, sums, strict=True))) >= found for p in patterns]
    return sum(extreme) / len(patterns)


def exact_bca(values, groups, confidence):
    """Means of all resamples of groups, in order, and the two levels that BCa asks for.

    Each level as a range: resamples that are permutations of the sample have its mean but for
    rounding, and may count on either side of it.
    """
    members = grouped(values, groups)

    def mean(drawn):
        return sum(map(sum, drawn)) / sum(map(len, drawn))

    means = np.sort([mean(drawn) for drawn in product(members, repeat=len(members))])
    found = mean(members)
    shares = (means < found - 1e-12).mean(), (means <= found + 1e-12).mean()
    left_out = np.array([mean(members[:i] + members[i + 1 :]) for i in range(len(members))])
    spread = left_out.mean() - left_out
    acceleration = (spread**3).sum() / (6 * (spread**2).sum() ** 1.5)
    levels = []
    for level in ((1 - confidence) / 2, (1 + confidence) / 2):
        biases = norm.ppf(shares)
        shifted = biases + norm.ppf(level)
        levels.append(norm.cdf(biases + shifted / (1 - acceleration * shifted)))
    return means, levels


@given(st.lists(st.tuples(SIXTEENTHS, st.integers(0, 7)), min_size=1, max_size=16))
def test_the_permutation_test_equals_enumeration(queries):
    values, groups = zip(*queries, strict=True)
    before = np.linspace(0, 1, len(values)).round(1) // 0.125 / 8
    p = paired_permutation_test(before, before + values, groups)
    assert p == pytest.approx(exact_p(values, groups))
    assert p == paired_permutation_test(before + values, before, groups), "two-sided"


def test_random_patterns_come_near_the_exact_value():
    values = np.random.default_rng(0).normal(0.1, 0.25, 14)
    exact = exact_p(values, range(14))
    zeros = np.zeros(14)
    drawn = paired_permutation_test(zeros, values, resamples=4000, seed=1)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=0.03)
    assert drawn == paired_permutation_test(zeros, values, resamples=4000, seed=1)
    assert paired_permutation_test(zeros, np.ones(14) / 7, resamples=99) == 0.01 * 2


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("seed", range(3))
def test_the_interval_equals_enumeration(seed, confidence):
    rng = np.random.default_rng(seed)
    groups = [0, 1, 1, 2, 3, 3, 3, 4]
    values = rng.normal(0.05, 0.2, 8)
    means, levels = exact_bca(values, groups, confidence)
    found = bootstrap_interval(values, groups, confidence=confidence, resamples=60_000, seed=seed)
    for end, (least, most) in zip(found, levels, strict=True):
        low, high = np.quantile(means, np.clip([least - 0.006, most + 0.006], 0, 1))
        assert low - 1e-9 <= end <= high + 1e-9


def test_copies_of_a_query_are_no_evidence():
    values = np.random.default_rng(3).normal(0.03, 0.1, 12)
    alone = gain(np.zeros(12), values, seed=5)
    copied = gain(np.zeros(36), np.repeat(values, 3), np.repeat(np.arange(12), 3), seed=5)
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))
    assert copied.p_value == pytest.approx(alone.p_value)
    naive = gain(np.zeros(36), np.repeat(values, 3), seed=5)
    assert naive.high - naive.low < 0.8 * (copied.high - copied.low)


@settings(max_examples=30)
@given(
    st.lists(SIXTEENTHS, min_size=2, max_size=12),
    st.sampled_from([0.25, 1.0, 4.0]),
    st.sampled_from([-0.5, 0.0, 2.0]),
)
def test_the_interval_moves_with_the_values_and_holds_their_mean(values, factor, shift):
    low, high = bootstrap_interval(values, resamples=300)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    moved = bootstrap_interval(factor * np.array(values) + shift, resamples=300)
    assert moved == pytest.approx((factor * low + shift, factor * high + shift))


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(11)
    inside = 0
    for seed in range(200):
        ends = bootstrap_interval(rng.exponential(1.0, 40), resamples=400, seed=seed)
        inside += ends[0] <= 1.0 <= ends[1]
    assert 0.88 <= inside / 200 <= 0.99


def test_gain():
    nan = np.nan
    before = [0.2, 0.5, 0.5, nan, 0.1, 0.3]
    after = [0.4, 0.4, 0.5, 0.9, nan, 0.7]
    found = gain(before, after, ["a", "b", "c", "d", "e", "f"])
    assert (found.wins, found.losses, found.ties) == (2, 1, 1)
    assert found.mean == pytest.approx((0.2 - 0.1 + 0 + 0.4) / 4)
    assert found.low <= found.mean <= found.high
    assert found.p_value == pytest.approx(exact_p([0.2, -0.1, 0.0, 0.4], range(4)))
    reverse = gain(after, before)
    assert (reverse.mean, reverse.p_value) == pytest.approx((-found.mean, found.p_value))
    same = gain([0.5, 0.25], [0.5, 0.25])
    assert same == Gain(0.0, 0.0, 0.0, 1.0, wins=0, losses=0, ties=2)
    steady = gain([0.1, 0.2, 0.3], [0.2, 0.3, 0.4])
    assert (steady.low, steady.high) == pytest.approx((0.1, 0.1))


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=80),
    st.integers(2, 6),
    st.integers(0, 3),
)
def test_folds(groups, folds, seed):
    names = np.array([f"object {number}" for number in groups])
    if len(set(groups)) < folds:
        with pytest.raises(SettingError, match="at most"):
            group_folds(names, folds, seed)
        return
    found = group_folds(names, folds, seed)
    assert found.dtype == np.int64
    sizes = np.bincount(found, minlength=folds)
    assert len(sizes) == folds
    assert sizes.min() > 0
    for name in set(names):
        assert len(set(found[names == name])) == 1, "an object's queries stay together"
    largest = max(groups.count(number) for number in groups)
    assert sizes.max() - sizes.min() <= largest
    assert np.array_equal(found, group_folds(names, folds, seed))


def test_folds_differ_by_seed():
    splits = {tuple(group_folds(np.arange(30), 5, seed)) for seed in range(5)}
    assert len(splits) == 5
    assert np.bincount(group_folds(np.arange(30), 5)).tolist() == [6] * 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gain([0.1, 0.2], [0.1]), "same queries"),
        (lambda: gain([0.1, 0.2], [0.1, 0.2], [1]), "same queries"),
        (lambda: gain([np.nan, 0.2], [0.1, np.nan]), "nothing to compare"),
        (lambda: gain([0.1, 0.2], [0.3, 0.2], ["a", "a"]), "at least 2 objects, got 1"),
        (lambda: bootstrap_interval([0.1, 0.2], confidence=1.0), "confidence"),
        (lambda: bootstrap_interval([0.1, 0.2], resamples=0), "resamples"),
        (lambda: paired_permutation_test([0.1], [0.2], resamples=0), "resamples"),
        (lambda: group_folds([1, 2, 3], 1), "at least 2"),
        (lambda: group_folds([1, 1, 2], 3), "at most 2 folds"),
    ],
)
def test_errors(call, message):
    with pytest.raises(SettingError, match=message):
        call()
