from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from patchrerank.calibration import Calibration, fit_calibration
from patchrerank.errors import SettingError
from patchrerank.tuning.calibrate import BINS, FIRST, calibrate, reliability
from patchrerank.tuning.statistics import group_folds

PROBABILITIES = st.integers(0, 40).map(lambda number: number / 40)


def slow_error(pairs, bins):
    """Equal counts, in Python; a tie that straddles a border goes to the bin above it."""
    ordered = sorted(pairs)
    wanted = [len(ordered) * number // bins for number in range(bins)]
    begins = sorted({next(i for i, p in enumerate(ordered) if p[0] == ordered[w][0])
                     for w in wanted})  # fmt: skip
    error = 0.0
    for begin, end in zip(begins, [*begins[1:], len(ordered)], strict=True):
        part = ordered[begin:end]
        predicted = sum(p for p, _ in part) / len(part)
        observed = sum(t for _, t in part) / len(part)
        error += len(part) / len(ordered) * abs(predicted - observed)
    return error


@given(st.lists(st.tuples(PROBABILITIES, st.booleans()), min_size=1, max_size=80),
       st.integers(1, 12))  # fmt: skip
def test_reliability_equals_its_twins(pairs, bins):
    predicted, relevant = map(np.array, zip(*pairs, strict=True))
    found = reliability(predicted, relevant, bins)
    assert found.brier == pytest.approx(brier_score_loss(relevant, predicted, pos_label=True))
    rate = np.full(len(relevant), relevant.mean())
    assert found.base_brier == pytest.approx(brier_score_loss(relevant, rate, pos_label=True))
    assert found.calibration_error == pytest.approx(slow_error(pairs, bins))
    assert sum(row.count for row in found.bins) == found.candidates == len(pairs)
    assert len(found.bins) <= bins
    means = [row.predicted for row in found.bins]
    assert means == sorted(means)


def test_bins_have_equal_counts():
    rng = np.random.default_rng(0)
    found = reliability(rng.random(1000), rng.random(1000) < 0.5)
    assert [row.count for row in found.bins] == [100] * BINS


def make_lists(seed=0, queries=30, width=60, steep=2.0):
    """Lists with up to four relevant candidates; scores of these are higher on average."""
    rng = np.random.default_rng(seed)
    relevant = np.zeros((queries, width), dtype=bool)
    for number in range(queries):
        relevant[number, rng.choice(width, number % 5, replace=False)] = True
    local = rng.normal(0, 1, (queries, width)) + steep * relevant
    scores = 1 / (1 + np.exp(-local))
    valid = rng.random((queries, width)) < 0.9
    return scores, relevant, valid, np.arange(queries) // 2


@pytest.fixture(scope="module")
def lists():
    return make_lists()


def test_held_out_figures_equal_the_slow_twin(lists):
    scores, relevant, valid, groups = lists
    found = calibrate(scores, relevant, valid, groups, folds=4, seed=7)
    fold = group_folds(groups, 4, 7)
    everything, first, there, gone = [], [], [], []
    for number in range(4):
        train = [(scores[q, k], relevant[q, k]) for q in range(30) for k in range(60)
                 if fold[q] != number and valid[q, k]]  # fmt: skip
        fitted = fit_calibration(*zip(*train, strict=True))
        for query in np.flatnonzero(fold == number):
            pairs = [
                (float(fitted.probabilities(scores[query, k])), bool(relevant[query, k]))
                for k in range(60)
                if valid[query, k]
            ]
            pairs.sort(key=lambda pair: -pair[0])
            everything += pairs
            first += pairs[:FIRST]
            if any(truth for _, truth in pairs):
                there.append(pairs[0][0])
            gone.append(max(p for p, truth in pairs if not truth))
    check = found.check
    for seen, pairs in ((check.all, everything), (check.first, first)):
        predicted, truth = zip(*pairs, strict=True)
        assert seen.candidates == len(pairs)
        assert seen.brier == pytest.approx(brier_score_loss(truth, predicted, pos_label=True))
        assert seen.calibration_error == pytest.approx(slow_error(pairs, BINS))
    marks = [1] * len(there) + [0] * len(gone)
    assert check.nothing.auc == pytest.approx(roc_auc_score(marks, there + gone))
    assert (check.nothing.lists_with, check.nothing.lists_without) == (len(there), len(gone))
    assert (check.folds, check.seed) == (4, 7)
    whole = fit_calibration(scores[valid], relevant[valid])
    assert replace(found, check=None, nothing_below=0) == whole


def test_the_threshold_answers_best(lists):
    scores, relevant, valid, groups = lists
    found = calibrate(scores, relevant, valid, groups)
    there, gone = [], []
    for query in range(len(scores)):
        p = found.probabilities(scores[query])
        if (relevant[query] & valid[query]).any():
            there.append(p[valid[query]].max())
        gone.append(p[valid[query] & ~relevant[query]].max())

    def share(threshold):
        return np.mean(np.array(there) >= threshold) + np.mean(np.array(gone) < threshold)

    best = max(share(threshold) for threshold in [*there, *gone, 1.1])
    assert share(found.nothing_below) == pytest.approx(best)


def test_useful_scores_are_useful_and_noise_is_not():
    good = calibrate(*make_lists(1, 60, steep=4.0)).check
    assert good.all.brier < 0.7 * good.all.base_brier
    assert good.first.brier < 0.5 * good.first.base_brier
    assert good.all.calibration_error < 0.01
    assert good.nothing.auc > 0.8
    assert good.nothing.accuracy > 0.75
    noise = calibrate(*make_lists(2, 60, steep=0.0)).check
    assert noise.all.brier == pytest.approx(noise.all.base_brier, rel=0.02)
    assert noise.nothing.auc == pytest.approx(0.5, abs=0.1)


def test_separable_lists_are_told_apart():
    relevant = np.zeros((20, 50), dtype=bool)
    relevant[:, 3] = True
    scores = np.where(relevant, 0.9, np.linspace(0.1, 0.4, 50))
    found = calibrate(scores, relevant, np.ones_like(relevant), np.arange(20))
    assert (found.check.nothing.auc, found.check.nothing.accuracy) == (1.0, 1.0)
    highest = found.probabilities(0.4)
    assert highest < found.nothing_below < found.probabilities(0.9)


def test_neither_order_nor_invalid_candidates_matter(lists):
    scores, relevant, valid, groups = lists
    plain = calibrate(scores, relevant, valid, groups)
    spoilt = np.where(valid, scores, np.nan)
    turned = np.random.default_rng(0).permutation(60)
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
    for wrong in (([], []), ([0.5], [True, False]), ([1.5], [True]), ([np.nan], [True])):
        with pytest.raises(SettingError):
            reliability(*wrong)
