from __future__ import annotations

import json

import numpy as np
import pytest

from later import later
from patchrerank.calibration import Calibration, fit_calibration, fit_level, reliability
from patchrerank.errors import SettingError
from patchrerank.tuning.calibrate import ABSENT, KEPT, REFUSED, calibrate, level_ranks
from patchrerank.tuning.statistics import group_folds

sklearn = later("sklearn.metrics")


def make_lists(seed=0, queries=30, width=90, steep=2.0):
    """Lists with up to four relevant candidates; scores of these are higher on average."""
    rng = np.random.default_rng(seed)
    relevant = np.zeros((queries, width), dtype=bool)
    for number in range(queries):
        relevant[number, rng.choice(width, number % 5, replace=False)] = True
    local = rng.normal(0, 1, (queries, width)) + steep * relevant + rng.normal(0, 1, (queries, 1))
    scores = 1 / (1 + np.exp(-local))
    valid = rng.random((queries, width)) < 0.9
    return scores, relevant, valid, np.arange(queries) // 2


@pytest.fixture(scope="module")
def lists():
    return make_lists()


def sorted_lists(scores, relevant, valid, drop):
    """The candidates of each list, best first, as it is or without its answers."""
    lists = []
    for query in range(len(scores)):
        slots = [k for k in range(scores.shape[1]) if valid[query, k]]
        slots = [k for k in slots if not (drop and relevant[query, k])]
        lists.append(sorted(slots, key=lambda k: -scores[query, k]))
    return lists


def fit_twin(scores, relevant, valid, queries, absent):
    """Every list twice, as it is and without its answers, one candidate at a time."""
    rows, marks, weights = [], [], []
    ranks = level_ranks((relevant & valid)[queries])
    for drop, weight in ((False, 2 * (1 - absent)), (True, 2 * absent)):
        slots = sorted_lists(scores, relevant, valid, drop)
        for query in queries:
            own = slots[query][: max(100, ranks[-1])]
            rows.append([scores[query, k] for k in own])
            marks.append([relevant[query, k] for k in own])
            weights.append(weight)
    width = max(map(len, rows))
    table = np.array([row + [0.0] * (width - len(row)) for row in rows])
    truth = np.array([row + [False] * (width - len(row)) for row in marks])
    there = np.array([[k < len(row) for k in range(width)] for row in rows])
    mass = np.array(weights)
    plain = fit_calibration(table[there], truth[there], np.repeat(mass, there.sum(axis=1)))
    return fit_level(plain, table, truth, there, mass, ranks)


def test_held_out_figures_equal_the_slow_twin(lists):
    scores, relevant, valid, groups = lists
    found = calibrate(scores, relevant, valid, groups, folds=4, seed=7, absent=0.2)
    assert found.level is not None
    fold = group_folds(groups, 4, 7)
    pairs, best = [], ([], [])
    for number in range(4):
        fitted = fit_twin(scores, relevant, valid, np.flatnonzero(fold != number), 0.2)
        for query in np.flatnonzero(fold == number):
            p = fitted.probabilities(scores[query], valid[query])
            slots = sorted_lists(scores, relevant, valid, False)[query]
            pairs.append([(p[k], relevant[query, k]) for k in slots])
            if any(truth for _, truth in pairs[-1]):
                best[0].append(scores[query, slots[0]])
            others = [k for k in slots if not relevant[query, k]]
            best[1].append(scores[query, others[0]])
    check = found.check
    for seen, count in ((check.all, 99), (check.first_five, 5), (check.first_ten, 10)):
        held = reliability(*zip(*(pair for one in pairs for pair in one[:count]), strict=True))
        assert seen.candidates == held.candidates
        assert seen.brier == pytest.approx(held.brier, rel=1e-4)
        assert seen.calibration_error == pytest.approx(held.calibration_error, rel=0.05)
    marks = [1] * len(best[0]) + [0] * len(best[1])
    assert check.nothing.auc == pytest.approx(sklearn.roc_auc_score(marks, best[0] + best[1]))
    assert (check.nothing.lists_with, check.nothing.lists_without) == tuple(map(len, best))
    assert (check.folds, check.seed) == (4, 7)
    whole = fit_twin(scores, relevant, valid, np.arange(30), 0.2)
    assert (found.a, found.b, found.c) == pytest.approx((whole.a, whole.b, whole.c), rel=1e-3)
    assert found.level.height == pytest.approx(whole.level.height, rel=1e-3)
    assert (found.absent, calibrate(scores, relevant, valid, groups).absent) == (0.2, ABSENT)


def test_the_threshold_answers_best(lists):
    scores, relevant, valid, groups = lists
    found = calibrate(scores, relevant, valid, groups)
    there = [s[v].max() for s, r, v in zip(scores, relevant, valid, strict=True) if (r & v).any()]
    gone = [s[v & ~r].max() for s, r, v in zip(scores, relevant, valid, strict=True)]

    def margin(threshold):
        kept, refused = np.mean(np.array(there) >= threshold), np.mean(np.array(gone) < threshold)
        return min(kept - KEPT, refused - REFUSED)

    best = max(margin(threshold) for threshold in [*there, *gone, 1.1])
    assert margin(found.nothing_below) == pytest.approx(best)


def test_ranks_of_a_level_lie_behind_the_answers():
    relevant = np.zeros((20, 200), dtype=bool)
    assert level_ranks(relevant) == (1, 15, 60)
    relevant[:, :4] = True
    assert level_ranks(relevant) == (4, 15, 60)
    relevant[:3, :9] = True
    assert level_ranks(relevant) == (9, 27, 108)
    relevant[0, :50] = True
    found = level_ranks(relevant)
    assert found == (9, 27, 108), "one long list in twenty is none of the nine in ten"
    assert level_ranks(relevant[:, :0]) == (1, 15, 60)


def test_first_hits_are_promised_what_comes_true_where_lists_have_so_many_answers():
    """One answer more than a list can have is worth less than its score."""
    rng = np.random.default_rng(0)
    relevant = np.zeros((200, 90), dtype=bool)
    relevant[:, :5] = True
    local = rng.normal(0, 1, relevant.shape) + 3.0 * relevant
    scores = 1 / (1 + np.exp(-local))
    found = calibrate(scores, relevant, np.ones_like(relevant), np.arange(200))
    assert found.level.among > 0.5
    predicted, true = (
        np.mean([getattr(one, name) * one.count for one in found.check.first_five.bins]) / 100
        for name in ("predicted", "observed")
    )
    assert predicted == pytest.approx(true, abs=0.03)


def test_useful_scores_are_useful_and_noise_is_not():
    good = calibrate(*make_lists(1, 60, steep=4.0)).check
    assert good.all.brier < 0.7 * good.all.base_brier
    assert good.first_ten.brier < 0.5 * good.first_ten.base_brier
    assert good.all.calibration_error < 0.01
    assert good.nothing.auc > 0.8
    assert good.nothing.kept + good.nothing.refused > 1.4
    noise = calibrate(*make_lists(2, 60, steep=0.0)).check
    assert noise.all.brier == pytest.approx(noise.all.base_brier, rel=0.02)
    assert noise.nothing.auc == pytest.approx(0.5, abs=0.1)


def test_separable_lists_are_told_apart():
    relevant = np.zeros((20, 50), dtype=bool)
    relevant[:, 3] = True
    scores = np.where(relevant, 0.9, np.linspace(0.1, 0.4, 50))
    found = calibrate(scores, relevant, np.ones_like(relevant), np.arange(20))
    nothing = found.check.nothing
    assert (nothing.auc, nothing.kept, nothing.refused) == (1.0, 1.0, 1.0)
    assert 0.4 < found.nothing_below < 0.9


def test_neither_order_nor_invalid_candidates_matter(lists):
    scores, relevant, valid, groups = lists
    plain = calibrate(scores, relevant, valid, groups)
    spoilt = np.where(valid, scores, np.nan)
    turned = np.random.default_rng(0).permutation(90)
    other = calibrate(spoilt[:, turned], (relevant | ~valid)[:, turned], valid[:, turned], groups)
    assert (other.a, other.b, other.c) == pytest.approx((plain.a, plain.b, plain.c), rel=1e-4)
    assert other.check.all.brier == pytest.approx(plain.check.all.brier, rel=1e-4)
    assert other.check.nothing.auc == pytest.approx(plain.check.nothing.auc)


def test_the_result_survives_json(lists):
    found = calibrate(*lists)
    assert Calibration.from_dict(json.loads(json.dumps(found.as_dict()))) == found


def test_lists_with_nothing_but_relevant_candidates():
    relevant = np.array([[True, False], [True, False], [True, True], [False, False]] * 3)
    scores = np.where(relevant, 0.8, 0.2)
    found = calibrate(scores, relevant, np.ones_like(relevant), np.arange(12), folds=3)
    assert found.check.nothing.lists_with == 9
    assert found.check.nothing.lists_without == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros((4, 3))}, "one shape"),
        ({"groups": [1, 2]}, r"groups need the shape \(4,\)"),
        ({"scores": np.full((4, 2), np.nan)}, "query 0: the score at position 0 is nan"),
        ({"groups": [1, 1, 1, 1]}, "at most 1 folds"),
        ({"relevant": np.zeros((4, 2))}, "is relevant"),
        ({"valid": np.zeros((4, 2))}, "none of the 0"),
    ],
)
def test_errors(change, message):
    plain = {
        "scores": np.full((4, 2), 0.5),
        "relevant": np.eye(4, 2),
        "valid": np.ones((4, 2)),
        "groups": np.arange(4),
    }
    with pytest.raises(SettingError, match=message):
        calibrate(**{**plain, **change}, folds=2)
    with pytest.raises(SettingError, match="absent must lie"):
        calibrate(**plain, absent=1.0)
