from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from patchrerank.calibration import (
    RIDGE,
    Calibration,
    CalibrationCheck,
    NothingFound,
    Reliability,
    ReliabilityBin,
    fit_calibration,
)
from patchrerank.errors import SettingError

SLOPES = st.floats(0, 1e6)
SCORES = st.lists(st.floats(-10, 10), min_size=1, max_size=30)
BINS = (ReliabilityBin(0.1, 0.0, 3), ReliabilityBin(0.6, 0.5, 4))
RELIABILITY = Reliability(7, 0.1, 0.2, 0.05, BINS)
CHECK = CalibrationCheck(RELIABILITY, RELIABILITY, NothingFound(0.9, 0.8, 5, 6), 5, 0)
CALIBRATION = Calibration(1.5, 2.0, -3.0, base_rate=0.01, nothing_below=0.2, check=CHECK)


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
        model = LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=10_000)
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
        ({"check": [1]}, r"check: expected an object, got \[1\]"),
    ],
)
def test_damaged_records(change, message):
    with pytest.raises(SettingError, match=message):
        Calibration.from_dict({**CALIBRATION.as_dict(), **change})


def test_damage_deep_inside():
    record = json.loads(json.dumps(CALIBRATION.as_dict()))
    record["check"]["first"]["bins"][1]["count"] = 2.5
    with pytest.raises(SettingError, match=r"check\.first\.bins\[1\]\.count: expected a whole"):
        Calibration.from_dict(record)
    del record["check"]["first"]["bins"][1]["count"]
    with pytest.raises(SettingError, match=r"check\.first\.bins\[1\]\.count: missing"):
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
