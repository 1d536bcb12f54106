from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit

from patchrerank.errors import SettingError, ShortlistError
from patchrerank.fusion import Fusion
from patchrerank.metrics import FULL, at, ilias_at, mean_over_queries
from patchrerank.tuning.fused._choice import GUARD, Choice, middle
from patchrerank.tuning.fused.exact_lambda import exact_lambda, exact_lambdas
from patchrerank.tuning.fused.fused_ap import fused_average_precisions
from slow_fusions import (
    BY_ORDER,
    CONVENTIONS,
    Lists,
    random_lists,
    slow_value,
    small_lists,
)

FINE = np.arange(5001) / 5000
by_name = pytest.mark.parametrize("convention", CONVENTIONS, ids=str)
by_order = pytest.mark.parametrize("convention", BY_ORDER, ids=str)


def means(lists, lams, gamma, size, convention=FULL, **how):
    values = fused_average_precisions(
        *lists.arguments, lams, [gamma], [size], convention, lists.weights, **how
    )[0, 0]
    return np.ascontiguousarray(values[:, lists.n_positives > 0]).mean(axis=1)


def search(lists, gamma, size, convention=FULL, **how):
    return exact_lambda(*lists.arguments, gamma, size, convention, lists.weights, **how)


def swap_points(lists, gamma, size):
    """Every λ at which any two candidates of a list swap, one pair after another."""
    points = {0.0, 1.0}
    for g, row in zip(lists.scores[:, :size], lists.local[:, :size], strict=True):
        s = expit(gamma * row.astype(float))
        for a in range(len(g)):
            for b in range(a):
                apart, local = float(g[a]) - float(g[b]), s[b] - s[a]
                if np.isfinite(apart) and apart * local > 0:
                    points.add(local / (local + apart))
    return np.array(sorted(points))


drawn = given(
    lists=small_lists(),
    gamma=st.sampled_from([0.3, 1.0, 4.0]),
    size=st.integers(1, 9),
    tail_pays=st.booleans(),
    inside=st.floats(0.01, 0.99),
)


@by_order
@drawn
@settings(max_examples=6)
def test_no_other_lambda_is_better(convention, lists, gamma, size, tail_pays, inside):
    assert_none_better(convention, lists, gamma, size, tail_pays, inside)


@pytest.mark.slow
@by_order
@drawn
@settings(max_examples=150)
def test_no_other_lambda_is_better_for_many(convention, lists, gamma, size, tail_pays, inside):
    assert_none_better(convention, lists, gamma, size, tail_pays, inside)


def assert_none_better(convention, lists, gamma, size, tail_pays, inside):
    assume((lists.n_positives > 0).any())
    how = {"convention": convention, "tail_pays": tail_pays}
    best = search(lists, gamma, size, **how)
    points = swap_points(lists, gamma, size)
    middles = (points[1:] + points[:-1])[np.diff(points) > 1e-9] / 2
    tried = means(lists, np.concatenate([FINE, middles]), gamma, size, **how)
    assert best.value >= tried.max() - 1e-12
    slow = slow_value(lists, best.lam, gamma, size, convention, tail_pays=tail_pays)
    assert mean_over_queries(slow) == pytest.approx(best.value, abs=1e-12)
    assert 0 <= best.low <= best.lam <= best.high <= 1
    also = best.low + inside * (best.high - best.low)
    assert means(lists, [also], gamma, size, **how)[0] == pytest.approx(best.value, abs=1e-11)


@by_order
@pytest.mark.parametrize("weighted", [False, True])
def test_never_below_a_fine_grid_and_the_plateau_is_one(convention, weighted):
    lists = random_lists(40, 80, seed=7, junk=0.1, weighted=weighted)
    best = search(lists, 0.7, 60, convention, epsilon=0.002)
    fine = means(lists, FINE, 0.7, 60, convention)
    assert best.value >= fine.max() - 1e-12
    plateau = best.plateau
    assert plateau.low <= plateau.lam <= plateau.high
    inside = np.linspace(plateau.low, plateau.high, 203)[1:-1]
    good = means(lists, inside, 0.7, 60, convention)
    assert good.min() >= best.value - 0.002 - 1e-9
    assert plateau.value == means(lists, [plateau.lam], 0.7, 60, convention)[0]
    assert widest(fine >= best.value - 0.002) <= plateau.high - plateau.low + 1e-9


def widest(good):
    """The widest stretch of the fine grid where all is good."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]])))
    return max((FINE[edges[1::2] - 1] - FINE[edges[::2]]).max(initial=0), 0)


@pytest.mark.parametrize("convention", [one for one in CONVENTIONS if one.ties != "order"], ids=str)
@pytest.mark.parametrize("size", [25, 60])
def test_ties_as_one_threshold(convention, size):
    lists = random_lists(25, 60, seed=11, junk=0.1)
    best = search(lists, 1.0, size, convention)
    assert best.value >= means(lists, FINE, 1.0, size, convention).max() - 1e-12
    assert best.value == means(lists, [best.lam], 1.0, size, convention)[0]
    assert best.plateau.value >= best.value - 0.001 - 1e-9


@given(small_lists(local=(-np.inf, -2.0, -0.3, 0.2, 0.2, 1.1)), st.integers(1, 9))
@settings(max_examples=40)
def test_candidates_equal_in_both_scores_are_one_tie_at_every_lambda(lists, size):
    assume((lists.n_positives > 0).any())
    best = search(lists, 1.0, size, ilias_at(4))
    lams = np.concatenate([[0.0, 1.0], np.random.default_rng(0).random(400)])
    assert best.value >= means(lists, lams, 1.0, size, ilias_at(4)).max() - 1e-12
    assert best.value == means(lists, [best.lam], 1.0, size, ilias_at(4))[0]


@pytest.mark.parametrize("convention", [ilias_at(), ilias_at(5)], ids=str)
def test_plateaus_among_many_equals(convention):
    lists = random_lists(40, 80, seed=0)
    coarse = (np.round(25 * lists.scores) / 25, np.round(2 * lists.local) / 2)
    scores, local = (array.astype(np.float32) for array in coarse)
    lists = replace(lists, scores=scores, local=local)
    best = search(lists, 1.0, 60, convention)
    fine = means(lists, FINE, 1.0, 60, convention)
    assert best.value >= fine.max() - 1e-12
    plateau = best.plateau
    inside = np.linspace(plateau.low, plateau.high, 103)[1:-1]
    assert means(lists, inside, 1.0, 60, convention).min() >= best.value - 0.001 - 1e-9
    assert widest(fine >= best.value - 0.001) <= plateau.high - plateau.low + 1e-9


def two_queries(*pairs):
    """One query a line: (global, local, relevant) of each candidate, best first."""
    scores, local, relevant = (np.array(part) for part in np.moveaxis(np.array(pairs), 2, 0))
    flags = relevant.astype(bool)
    return Lists(
        scores.astype(np.float32),
        local.astype(np.float32),
        flags,
        np.zeros_like(flags),
        flags.sum(axis=1),
    )


def logit(value):
    return float(np.log(value / (1 - value)))


def test_a_needle_is_found_and_the_plateau_avoids_it():
    """Two queries are both right between 0.5 and 0.500001 only; one of them nearly everywhere."""
    lists = two_queries(
        [(0.75, 0.0, 1), (0.5, logit(0.75), 0)],  # the relevant one is first from 0.5 on
        [(0.75, 0.0, 0), (0.5, logit(0.750001), 1)],  # … up to a little above 0.5
    )
    best = search(lists, 1.0, 2)
    assert best.value == 1.0
    assert best.low == pytest.approx(0.5, abs=1e-6) and 0 < best.high - best.low < 1.2e-6
    assert means(lists, [best.lam], 1.0, 2) == 1.0
    assert means(lists, FINE, 1.0, 2).max() < 1.0
    assert best.plateau.value == 1.0
    wide = search(lists, 1.0, 2, epsilon=0.3)
    assert (wide.plateau.low, wide.plateau.high) == (0.0, 1.0)
    assert wide.plateau.value == 0.75
    assert wide.plateau.lam == 0.5 and wide.best == Fusion(best.lam, 1.0, 2)


def test_zero_is_a_point_of_its_own():
    """The sigmoid is 1 for both, and the global scores are equal; only λ = 0 sees a difference."""
    lists = two_queries([(0.5, 50.0, 0), (0.5, 60.0, 1)])
    best = search(lists, 1.0, 2)
    assert (best.low, best.lam, best.high, best.value) == (0.0, 0.0, 0.0, 1.0)
    assert best.plateau == type(best.plateau)(0.0, 0.0, 0.0, 1.0)


def test_one_is_a_point_of_its_own():
    """At equal global scores the local score decides, however close λ is to 1."""
    lists = two_queries([(0.5, 0.0, 1), (0.5, 1.0, 0)])
    best = search(lists, 1.0, 2)
    assert (best.low, best.lam, best.high, best.value) == (1.0, 1.0, 1.0, 1.0)
    assert search(lists, 1.0, 1).high == 1.0 and search(lists, 1.0, 1).low == 0.0


def test_large_global_scores_press_all_swaps_towards_zero():
    lists = random_lists(20, 40, seed=3)
    inliers = replace(lists, scores=np.floor(lists.scores * 1e5).astype(np.float32))
    best = search(inliers, 1.0, 40)
    assert 0 < best.lam < 1e-3
    fine = np.concatenate([np.geomspace(1e-9, 1, 4000), np.linspace(0, 1e-4, 2000)])
    assert best.value >= means(inliers, fine, 1.0, 40).max() - 1e-12
    assert best.value == means(inliers, [best.lam], 1.0, 40)[0]


@pytest.mark.parametrize(("gamma", "size"), [(1.0, 0), (0.0, 5), (0.0, 0)])
def test_where_lambda_has_no_effect_all_of_it_is_best(gamma, size):
    lists = random_lists(5, 20, seed=5)
    best = search(lists, gamma, size)
    first_stage = means(lists, [1.0], gamma, size)[0]
    assert (best.low, best.high, best.value) == (0.0, 1.0, first_stage)
    assert best.plateau.value == first_stage and best.swaps == 0


def test_queries_without_positives_are_left_out():
    lists = random_lists(10, 30, seed=6)
    none = np.zeros((4, 30), bool)
    more = Lists(
        *(np.concatenate([a, a[:4]]) for a in (lists.scores, lists.local)),
        np.concatenate([lists.relevant, none]),
        np.concatenate([lists.ignored, none]),
        np.concatenate([lists.n_positives, np.zeros(4, int)]),
    )
    assert search(more, 1.0, 30) == search(lists, 1.0, 30)
    with pytest.raises(SettingError, match="no query has positives"):
        search(
            replace(lists, relevant=none[:1].repeat(10, 0), n_positives=np.zeros(10, int)), 1, 30
        )


def test_all_useful_pairs_best_first():
    lists = random_lists(20, 50, seed=8)
    gammas, sizes = [1.0, 0.0, 0.3, 3.0], [50, 0, 10, 1000, 25]
    found = exact_lambdas(*lists.arguments, gammas, sizes)
    assert {(one.shortlist_size, one.gamma) for one in found} == {
        (size, gamma) for size in (10, 25, 50) for gamma in (0.3, 1.0, 3.0)
    }
    assert [one.value for one in found] == sorted((one.value for one in found), reverse=True)
    for one in found:
        alone = search(lists, one.gamma, one.shortlist_size)
        assert one.value == pytest.approx(alone.value, abs=1e-12)
        assert (one.low, one.high) == pytest.approx((alone.low, alone.high), abs=1e-12)
        assert one.swaps == alone.swaps
    assert found == exact_lambdas(*lists.arguments, gammas, sizes, threads=3)


def test_a_cutoff_is_seen():
    lists = random_lists(30, 60, seed=9)
    best = search(lists, 1.0, 60, at(1))
    assert best.value == means(lists, [best.lam], 1.0, 60, at(1))[0]
    assert best.value != search(lists, 1.0, 60).value


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        ({"gamma": -1.0}, SettingError, "gamma"),
        ({"size": -1}, SettingError, "shortlist_size"),
        ({"epsilon": -0.1}, SettingError, "epsilon"),
        ({"epsilon": float("nan")}, SettingError, "epsilon"),
        ({"threads": 0}, SettingError, "threads"),
        ({"local": np.full((5, 20), np.nan)}, ShortlistError, "NaN"),
    ],
)
def test_bad_settings_are_refused(how, error, match):
    lists = random_lists(5, 20, seed=10)
    if "local" in how:
        lists = replace(lists, local=how.pop("local"))
    with pytest.raises(error, match=match):
        search(lists, **{"gamma": 1.0, "size": 20, **how})


def test_no_useful_pair_is_an_error():
    with pytest.raises(SettingError, match="no pair"):
        exact_lambdas(*random_lists(5, 20, seed=10).arguments, [0.0], [0, 5])


def chosen(low, high, values, guard, tried, epsilon=0.1, alternatives=3):
    """What is chosen where ``tried`` says what a λ is really worth."""
    arrays = (np.array(part, dtype=float) for part in (low, high, values, guard))
    choice = Choice(*arrays, epsilon, alternatives)
    return choice.best(np.array([tried(lam) for lam in choice.lams]))


def test_of_equal_intervals_the_widest_is_taken_and_neighbours_are_joined():
    low, high, values = [0, 0.1, 0.4, 0.5, 0.7], [0.1, 0.4, 0.5, 0.7, 1], [0.8, 0.2, 0.8, 0.8, 0.1]
    best, plateau = chosen(low, high, values, np.zeros(11), lambda lam: 0.8)
    assert best == plateau == (0.8, (0.4, 0.7))


def test_the_plateau_is_measured_from_the_ends_too():
    """λ = 0 is worth 0.85, so that 0.74 is too low for a plateau, although 0.8 is near."""
    guard = np.zeros(11)
    guard[0] = 0.85
    best, plateau = chosen([0, 0.3], [0.3, 1], [0.8, 0.74], guard, lambda lam: 0.8)
    assert best == (0.85, (0.0, 0.0))
    assert plateau == (0.8, (0.0, 0.3))


def test_an_interval_that_rounding_spoils_gives_way_to_the_next_best():
    low, high, values = [0, 0.3, 0.31, 0.6, 0.8], [0.3, 0.31, 0.6, 0.8, 1], [0, 0.9, 0.1, 0.8, 0.8]

    def worth(lam):
        return 0.05 if lam < 0.5 else 0.8

    best, plateau = chosen(low, high, values, np.full(11, 0.02), worth, epsilon=0.01)
    assert best.value == 0.8
    assert best.run in ((0.6, 0.8), (0.8, 1.0))
    assert plateau == best  # the plateau around 0.305 was spoilt, too


def test_the_published_grid_is_tried_in_any_case():
    guard = np.full(11, 0.02)
    guard[3] = 0.9
    best, _ = chosen([0], [1], [0.5], guard, lambda lam: 0.5)
    assert best == (0.9, (GUARD[3], GUARD[3])) and middle(best.run) == 0.3
