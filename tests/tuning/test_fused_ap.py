from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrerank.errors import SettingError, ShortlistError
from patchrerank.metrics import FULL
from patchrerank.tuning.fused.fused_ap import fused_average_precisions
from slow_fusions import (
    CONVENTIONS,
    FOUND,
    random_lists,
    slow_grid,
    slow_value,
    small_lists,
)

LAMS = [0.0, 0.3, 0.5, 1.0]
GAMMAS = [0.0, 0.4, 20.0]
GRID = ([0.5, 0.0, 1.0, 0.5], [1.0, 0.0, 3.0], [40, 0, 7, 1000])
by_name = pytest.mark.parametrize("convention", CONVENTIONS, ids=str)


def counted(lists, lams, gammas, sizes, convention=FULL, **how):
    return fused_average_precisions(
        *lists.arguments, lams, gammas, sizes, convention, weights=lists.weights, **how
    )


drawn = given(lists=small_lists(), lam=st.floats(0, 1), tail_pays=st.booleans())


@by_name
@drawn
@settings(max_examples=6)
def test_equals_sorting_ties_included(convention, lists, lam, tail_pays):
    assert_equals_sorting(convention, lists, lam, tail_pays)


@pytest.mark.slow
@by_name
@drawn
@settings(max_examples=200)
def test_equals_sorting_on_many(convention, lists, lam, tail_pays):
    assert_equals_sorting(convention, lists, lam, tail_pays)


def assert_equals_sorting(convention, lists, lam, tail_pays):
    width = lists.scores.shape[1]
    grid = ([*LAMS, lam], GAMMAS, [0, 1, width // 2, width + 3])
    expected = slow_grid(lists, *grid, convention, tail_pays=tail_pays)
    values = counted(lists, *grid, convention, tail_pays=tail_pays)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


@by_name
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_sorting_on_longer_lists(convention, weighted):
    lists = random_lists(40, 50, seed=1, junk=0.1, weighted=weighted)
    expected = slow_grid(lists, *GRID, convention)
    np.testing.assert_allclose(counted(lists, *GRID, convention), expected, rtol=0, atol=1e-12)


@given(small_lists(local=(*FOUND, 17.0, 17.5, 36.0, 37.0, 40.0, 800.0, -800.0, np.inf)))
@settings(max_examples=50)
def test_saturated_sigmoids_tie_as_they_do_when_sorted(lists):
    grid = ([0.0, 1e-12, 1e-7, 0.5], [1.0], [lists.scores.shape[1]])
    for convention in (CONVENTIONS[0], CONVENTIONS[-1]):
        expected = slow_grid(lists, *grid, convention)
        np.testing.assert_allclose(counted(lists, *grid, convention), expected, rtol=0, atol=1e-12)


@by_name
def test_threads_and_queries_do_not_matter(convention):
    lists = random_lists(70, 30, seed=2, junk=0.2)
    alone = counted(lists, *GRID, convention)
    assert np.array_equal(alone, counted(lists, *GRID, convention, threads=3), equal_nan=True)
    first = replace(
        lists, **{name: value[:5] for name, value in vars(lists).items() if value is not None}
    )
    assert np.array_equal(alone[..., :5], counted(first, *GRID, convention), equal_nan=True)


def test_a_tie_may_go_on_behind_the_head():
    """The head ends with 0.5, and so does the list behind it begin."""
    lists = random_lists(1, 4, seed=0, positives=(1, 2))
    lists = replace(
        lists,
        scores=np.array([[0.9, 0.5, 0.5, 0.4]], dtype=np.float32),
        local=np.array([[0.0, -np.inf, 0.0, 0.0]], dtype=np.float32),
        relevant=np.array([[True, False, True, False]]),
        n_positives=np.array([2]),
    )
    tied = next(one for one in CONVENTIONS if one.name == "tied")
    at_zero = counted(lists, [0.0], [1.0], [1], tied)[0, 0, 0, 0]
    assert at_zero == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert at_zero == slow_value(lists, 0.0, 1.0, 1, tied)[0]


def test_junk_and_empty_slots_are_left_out_and_unfound_positives_count():
    values = fused_average_precisions(
        np.array([[0.9, 0.8, 0.7, 0.6, -np.inf]], dtype=np.float32),
        np.array([[0.0, 9.0, 1.0, 2.0, np.nan]], dtype=np.float32),
        np.array([[False, True, True, False, True]]),
        np.array([[False, True, False, False, False]]),
        [4],
        [0.0],
        [1.0],
        [0, 3, 5],
    )
    assert values.reshape(3).tolist() == [1 / 2 / 4, 1 / 4, 1 / 2 / 4]


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_nothing_to_rank(shape):
    flags, scores = np.zeros(shape, bool), np.zeros(shape, np.float32)
    counts = np.arange(shape[0])
    values = fused_average_precisions(scores, scores, flags, flags, counts, [0.0, 0.5], [1.0], [3])
    assert values.shape == (1, 1, 2, shape[0])
    assert np.array_equal(np.isnan(values[0, 0, 0]), counts == 0)
    empty = fused_average_precisions(scores, scores, flags, flags, counts, [], [], [])
    assert empty.shape == (0, 0, 0, shape[0])


def test_local_scores_that_are_not_needed_may_be_missing():
    lists = random_lists(3, 10, seed=3)
    local = lists.local.copy()
    local[:, 6:] = np.nan
    few = counted(replace(lists, local=local), LAMS, GAMMAS, [2, 6])
    assert np.array_equal(few, counted(lists, LAMS, GAMMAS, [2, 6]))
    with pytest.raises(ShortlistError, match=r"query 0: the local score at position 6 is NaN"):
        counted(replace(lists, local=local), LAMS, GAMMAS, [7])


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"scores": np.zeros((2, 3))}, ShortlistError, "local_scores has the shape"),
        ({"scores": np.zeros(10)}, ShortlistError, r"global_scores need the shape \(Q, K\)"),
        ({"scores": np.tile(np.arange(10.0), (3, 1))}, ShortlistError, "best first"),
        ({"ignored": np.zeros((3, 9), bool)}, ShortlistError, "ignored has the shape"),
        ({"relevant": np.zeros((2, 10), bool)}, ShortlistError, "relevant has the shape"),
        ({"weights": np.zeros((3, 9))}, ShortlistError, "weights has the shape"),
        ({"weights": np.full((3, 10), 2.0)}, SettingError, r"weights must lie in \[0, 1\]"),
        ({"n_positives": np.zeros(3, int)}, SettingError, "n_positives is 0, but its list"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, error, match):
    with pytest.raises(error, match=match):
        counted(replace(random_lists(3, 10, seed=4), **change), LAMS, GAMMAS, [5])


@pytest.mark.parametrize(
    ("grid", "match"),
    [
        (([1.5], [1.0], [5]), "lam must lie"),
        (([0.5], [-1.0], [5]), "gamma must be"),
        (([0.5], [np.nan], [5]), "gamma must be"),
        (([0.5], [1.0], [-5]), "shortlist_size must be"),
        (([0.5], [1.0], [2.5]), "sizes must be a list"),
        (([[0.5]], [1.0], [2]), "lams must be a list"),
    ],
)
def test_points_out_of_range_are_refused(grid, match):
    with pytest.raises(SettingError, match=match):
        counted(random_lists(3, 10, seed=4), *grid)


def test_threads_are_checked():
    with pytest.raises(SettingError, match="threads"):
        counted(random_lists(3, 10, seed=4), [0.5], [1.0], [5], threads=0)
