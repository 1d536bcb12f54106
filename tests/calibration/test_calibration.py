from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from later import later
from patchrerank.calibration import (
    Calibration,
    CalibrationCheck,
    ListLevel,
    NothingFound,
    Reliability,
    ReliabilityBin,
    fit_calibration,
    fit_level,
)
from patchrerank.calibration.features import LEAST, level_features
from patchrerank.calibration.fitting import RIDGE
from patchrerank.errors import SettingError

linear_model = later("sklearn.linear_model")

SLOPES = st.floats(0, 1e6)
SCORES = st.lists(st.floats(-10, 10), min_size=1, max_size=30)
BINS = (ReliabilityBin(0.1, 0.0, 3), ReliabilityBin(0.6, 0.5, 4))
RELIABILITY = Reliability(7, 0.1, 0.2, 0.05, BINS)
NOTHING = NothingFound(0.9, 0.8, 0.7, 5, 6)
CHECK = CalibrationCheck(RELIABILITY, RELIABILITY, RELIABILITY, NOTHING, 5, 0)
LEVEL = ListLevel(2, 3, 16, 0.5, 1.5, -2.0, 0.4, 0.1, 0.6, -0.7, 0.3, 0.01)
CALIBRATION = Calibration(
    1.5, 2.0, -3.0, base_rate=0.01, absent=0.1, nothing_below=0.2, level=LEVEL, check=CHECK
)


@given(SLOPES, SLOPES, st.floats(-1e3, 1e3), SCORES, st.floats(-5, 0), st.floats(0.1, 5))
def test_the_probability_never_falls_while_the_score_rises(a, b, c, scores, low, high):
    found = Calibration(a, b, c, low, high).probabilities(np.sort(scores))
    assert found.dtype == np.float64
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= -1e-12).all()


@given(st.lists(st.tuples(st.floats(-3, 3), st.booleans()), min_size=2, max_size=60))
def test_a_fitted_one_rises_too_and_has_the_right_mean(pairs):
    scores, relevant = map(np.array, zip(*pairs, strict=True))
    if relevant.all() or not relevant.any():
        return
    fitted = fit_calibration(scores, relevant)
    found = fitted.probabilities(scores)
    order = np.argsort(scores)
    assert (np.diff(found[order]) >= -1e-12).all()
    positives, negatives = relevant.sum(), (~relevant).sum()
    targets = np.where(relevant, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    assert found.mean() == pytest.approx(targets.mean(), abs=1e-4), "the offset is free"
    assert fitted.base_rate == relevant.mean()


def draw(seed, count, steepness, offset):
    rng = np.random.default_rng(seed)
    local = rng.normal(0, 1, count)
    truth = expit(steepness * local + offset)
    return local, truth, rng.random(count) < truth


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_equals_scikit_learn(seed):
    local, _, relevant = draw(seed, 3000, 2.0, -3.0)
    scores = 0.3 + 0.5 * expit(0.7 * local)
    fitted = fit_calibration(scores, relevant)
    features = np.stack([np.log(scores), -np.log1p(-scores)], axis=1)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    count, rare = len(scores), relevant.sum()
    targets = np.where(relevant, (rare + 1) / (rare + 2), 1 / (count - rare + 2))
    twice = np.concatenate([features, features])
    marks = np.repeat([1, 0], count)
    weights = np.concatenate([targets, 1 - targets])

    def twin(columns):
        model = linear_model.LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=10_000)
        model.fit(twice[:, columns], marks, sample_weight=weights)
        return model, model.predict_proba(features[:, columns])[:, 1]

    model, expected = twin([0, 1])
    if (model.coef_ < 0).any():  # then the best allowed one has a slope of 0
        likely = {}
        for column in (0, 1):
            _, found = twin([column])
            likely[(targets * np.log(found) + (1 - targets) * np.log1p(-found)).sum()] = found
        expected = likely[max(likely)]
    np.testing.assert_allclose(fitted.probabilities(scores), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 5.0])
def test_it_undoes_the_sigmoid_of_the_fusion(gamma):
    local, truth, relevant = draw(0, 20_000, 2.5, -4.0)
    found = fit_calibration(expit(gamma * local), relevant).probabilities(expit(gamma * local))
    assert np.abs(found - truth).max() < 0.1
    assert np.abs(found - truth).mean() < 0.01


def test_scores_of_any_range():
    local, truth, relevant = draw(1, 20_000, 2.0, -4.0)
    fitted = fit_calibration(3 * local + 20, relevant)
    assert (fitted.low, fitted.high) == (0.0, pytest.approx(3 * local.max() + 20))
    found = fitted.probabilities(3 * local + 20)
    assert np.abs(found - truth).mean() < 0.02
    cosines = fit_calibration(0.2 * local, relevant)
    assert (cosines.low, cosines.high) == (pytest.approx(0.2 * local.min()), 1.0)


def test_scores_that_say_nothing_give_the_base_rate():
    relevant = np.arange(1000) < 20
    saturated = fit_calibration(np.ones(1000, dtype=np.float32), relevant)
    assert saturated.probabilities([0.0, 0.5, 1.0]) == pytest.approx([0.02] * 3, abs=0.002)
    upside_down = fit_calibration(np.where(relevant, 0.1, 0.9), relevant)
    assert (upside_down.a, upside_down.b) == (0, 0)


def test_separable_scores_give_finite_slopes():
    relevant = np.arange(1000) < 5
    fitted = fit_calibration(np.where(relevant, 0.9, 0.3), relevant)
    high, low = fitted.probabilities([0.9, 0.3])
    assert high == pytest.approx(6 / 7, abs=0.05)
    assert low == pytest.approx(1 / 997, abs=0.001)


def test_unknown_and_endless_scores():
    found = CALIBRATION.probabilities([[np.nan, -np.inf], [np.inf, 0.5]])
    assert found.shape == (2, 2)
    assert np.isnan(found[0, 0])
    assert found[0, 1] < 1e-6 < found[1, 1] < found[1, 0]


def place_twin(scores, valid, slot, level):
    """What the list says of one candidate; None where it says nothing."""
    order = sorted((k for k in range(len(scores)) if valid[k]), key=lambda k: (-scores[k], k))
    held = [scores[k] for k in order[level.first - 1 : level.last]]
    if len(held) < LEAST:
        return None
    spread = max(np.std(held), level.least_spread)
    height = (scores[slot] - np.mean(held)) / spread
    rank = order.index(slot) + 1
    return height, -np.log(rank), rank <= level.answers, np.mean(held), np.log(spread)


@pytest.mark.parametrize("seed", range(8))
def test_probabilities_with_a_level_equal_the_slow_twin(seed):
    rng = np.random.default_rng(seed)
    width = (30, 14, 11, 3)[seed % 4]
    scores = rng.random((4, width)).round(2 if seed > 4 else 9)
    valid = rng.random((4, width)) < 0.9
    scores[3] = 0.5
    found = CALIBRATION.probabilities(scores, valid)
    known = 0
    for query, slot in zip(*np.nonzero(valid), strict=True):
        u = min(max(scores[query, slot], 1e-7), 1 - 1e-7)
        around = place_twin(scores[query], valid[query], slot, LEVEL)
        logit = 1.5 * np.log(u) - 2.0 * np.log(1 - u) - 3.0
        if around is not None:
            logit = 0.5 * np.log(u) - 1.5 * np.log(1 - u) - 2.0
            logit += np.dot([0.4, 0.1, 0.6, -0.7, 0.3], around)
            known += 1
        assert found[query, slot] == pytest.approx(expit(logit), rel=1e-9)
    assert (known > 0) == (width > 12)
    alone = np.stack([CALIBRATION.probabilities(*row) for row in zip(scores, valid, strict=True)])
    assert np.array_equal(alone, found), "no list knows another"
    if not (~valid).any():
        assert np.array_equal(CALIBRATION.probabilities(scores), found)


@given(
    scores=st.lists(st.floats(-1, 2), min_size=20, max_size=40),
    seed=st.integers(0, 2**32 - 1),
)
def test_within_a_list_the_probability_never_falls_while_the_score_rises(scores, seed):
    rng = np.random.default_rng(seed)
    weights = [*rng.random(2) * 9, *rng.normal(0, 9, 1), *rng.random(3) * 9, *rng.normal(0, 9, 2)]
    level = ListLevel(3, 5, 16, *weights, 1e-6)
    found = Calibration(1.0, 1.0, 0.0, level=level).probabilities(np.sort(scores)[::-1])
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) <= 1e-12).all()


def test_the_same_score_is_worth_more_above_a_low_level():
    level = ListLevel(5, 5, 40, 0.0, 0.0, -6.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.01)
    rng = np.random.default_rng(0)
    rest = rng.normal(0.5, 0.02, 45)
    low, high = (np.concatenate([[0.9], rest + shift]) for shift in (0.0, 0.37))
    calibration = Calibration(1.0, 1.0, 0.0, level=level)
    far, near = (calibration.probabilities(scores)[0] for scores in (low, high))
    assert far > 0.99
    assert near < far - 0.3
    short = calibration.probabilities(high[:10])
    assert np.array_equal(short, replace(calibration, level=None).probabilities(high[:10]))


def draw_lists(seed, queries=200, width=60):
    """Each list has a height and a width of its own, on which the truth depends."""
    rng = np.random.default_rng(seed)
    relevant = np.zeros((queries, width), dtype=bool)
    relevant[:, :5] = rng.random((queries, 5)) < 0.8
    local = rng.normal(0, 1, (queries, width)) + 3.0 * relevant
    scores = expit(rng.normal(0, 1, (queries, 1)) + rng.uniform(0.2, 1, (queries, 1)) * local)
    return scores, relevant, rng.random((queries, width)) < 0.95


def test_a_level_is_learned_where_lists_have_one():
    scores, relevant, valid = draw_lists(0)
    weights = np.ones(len(scores))
    plain = fit_calibration(scores[valid], relevant[valid])
    fitted = fit_level(plain, scores, relevant, valid, weights, (5, 15, 50))
    assert replace(fitted, level=None) == plain
    assert (fitted.level.first, fitted.level.last) == (15, 50)
    others, truth, there = draw_lists(1)
    brier = [
        ((made.probabilities(others, there) - truth)[there] ** 2).mean() for made in (fitted, plain)
    ]
    assert brier[0] < 0.7 * brier[1]
    assert (
        fit_level(plain, scores[:10], relevant[:10], valid[:10], weights[:10], (5, 15, 50)) == plain
    )
    assert fit_level(plain, scores, relevant, valid, weights, (5, 55, 90)) == plain, "too short"
    assert fit_level(plain, scores, relevant & False, valid, weights, (5, 15, 50)) == plain
    flat = np.full_like(scores, 0.5)
    assert fit_level(plain, flat, relevant, valid, weights, (5, 15, 50)) == plain


def test_a_level_fit_equals_scikit_learn():
    scores, relevant, valid = draw_lists(2)
    weights = np.repeat([0.5, 1.5], 100)
    plain = fit_calibration(scores[valid], relevant[valid])
    fitted = fit_level(plain, scores, relevant, valid, weights, (5, 15, 50))
    around, _ = level_features(scores, valid, (5, 15, 50), fitted.level.least_spread)
    beta = np.stack([np.log(scores), -np.log1p(-scores)])
    features = np.concatenate([beta, around])[:, valid].T
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    slopes = [getattr(fitted.level, name) for name in ("a", "b", "height", "rank", "among")]
    used = [column for column, slope in enumerate(slopes) if slope > 0] + [5, 6]
    truth, mass = relevant[valid], np.broadcast_to(weights[:, None], valid.shape)[valid]
    count, rare = len(truth), truth.sum()
    targets = np.where(truth, (rare + 1) / (rare + 2), 1 / (count - rare + 2))
    model = linear_model.LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=10_000)
    both = np.concatenate([mass * targets, mass * (1 - targets)])
    model.fit(np.concatenate([features[:, used]] * 2), np.repeat([1, 0], count), both)
    expected = model.predict_proba(features[:, used])[:, 1]
    found = fitted.probabilities(scores, valid)[valid]
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=1e-5)


def test_the_record_survives_json():
    for calibration in (CALIBRATION, replace(CALIBRATION, check=None), Calibration(0, 0, 1)):
        assert Calibration.from_dict(calibration.as_dict()) == calibration
        record = json.loads(json.dumps(calibration.as_dict()))
        assert Calibration.from_dict(record) == calibration


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": -1}, "calibration: a must be at least 0, got -1"),
        ({"a": "1"}, 'calibration: a: expected a finite number, got "1"'),
        ({"c": float("nan")}, "c: expected a finite number"),
        ({"c": True}, "c: expected a finite number, got true"),
        ({"low": 2}, "low must lie below high"),
        ({"base_rate": 1.5}, r"base_rate must lie in \[0, 1\], got 1.5"),
        ({"nothing_blow": 1.5}, "nothing_blow: unknown key; did you mean nothing_below"),
        ({"check": {}}, "calibration: check.all: missing"),
        ({"level": {}}, "calibration: level.answers: missing"),
        ({"level": {**asdict(LEVEL), "height": -1}}, "height must be at least 0, got -1"),
        ({"level": {**asdict(LEVEL), "last": 3}}, "ranks 1 ≤ answers ≤ first < last"),
        ({"level": {**asdict(LEVEL), "least_spread": 0}}, "least_spread above 0"),
        ({"absent": 2}, r"absent must lie in"),
        ({"check": [1]}, r"check: expected an object, got \[1\]"),
    ],
)
def test_damaged_records(change, message):
    with pytest.raises(SettingError, match=message):
        Calibration.from_dict({**CALIBRATION.as_dict(), **change})


def test_damage_deep_inside():
    record = json.loads(json.dumps(CALIBRATION.as_dict()))
    record["check"]["first_five"]["bins"][1]["count"] = 2.5
    with pytest.raises(
        SettingError, match=r"check\.first_five\.bins\[1\]\.count: expected a whole"
    ):
        Calibration.from_dict(record)
    del record["check"]["first_five"]["bins"][1]["count"]
    with pytest.raises(SettingError, match=r"check\.first_five\.bins\[1\]\.count: missing"):
        Calibration.from_dict(record)
    with pytest.raises(SettingError, match="calibration: expected an object, got 3"):
        Calibration.from_dict(3)


@pytest.mark.parametrize(
    ("scores", "relevant", "message"),
    [
        ([0.1, 0.2], [True], "2 scores but 1 marks"),
        ([0.1, np.nan], [True, False], "score 1 is nan"),
        ([0.1, 0.2], [True, True], "candidates is irrelevant"),
        ([0.1, 0.2], [False, False], "candidates is relevant"),
        ([], [], "none of the 0"),
    ],
)
def test_nothing_to_fit(scores, relevant, message):
    with pytest.raises(SettingError, match=message):
        fit_calibration(scores, relevant)


def test_nothing_is_found_where_the_best_calibrated_hit_lies_too_low():
    made = replace(CALIBRATION, nothing_below=0.3)
    assert made.finds_nothing([], [])
    assert made.finds_nothing([0.29, 0.1], [0.2, 0.1])
    assert not made.finds_nothing([0.3, 0.1], [0.2, 0.1])
    assert made.finds_nothing([0.9, 0.29], [None, 0.1])  # the first was rescored by nobody
    assert not made.finds_nothing([0.1], [float("nan")])  # of whom nobody can say
    assert not replace(made, nothing_below=None).finds_nothing([0.0], [0.1])
