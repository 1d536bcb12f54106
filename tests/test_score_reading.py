from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.errors import SettingError, ShortlistError
from patchrerank.score_reading import DISTANCES, METRICS, ScoreReading
from patchrerank.types import Shortlist

LETTERS = [chr(ord("a") + number) for number in range(26)]


class Letters:
    def rows_of(self, ids):
        return np.array([ord(item) - ord("a") for item in ids], dtype=np.int64)


def from_scores(scores, **how):
    return Shortlist.from_ids(Letters(), [LETTERS[: len(scores)]], [scores], **how)


def search(seed, n_query_vectors=5):
    """Unit vectors, and what stores answer under each metric: farthest last."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((12, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[0]
    dots = vectors @ query
    distance = np.linalg.norm(vectors - query, axis=1)
    return dots, {
        "cosine-distance": 1 - dots,
        "l2": distance,
        "l2-squared": distance**2,
        "inner-product": dots,
        "maxsim-sum": n_query_vectors * dots,
    }


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_gives_cosines(metric):
    dots, answers = search(0)
    order = np.argsort(-dots)
    how = {"n_query_vectors": 5} if metric == "maxsim-sum" else {}
    found = from_scores(answers[metric][order], metric=metric, **how)
    assert np.allclose(found.scores[0], dots[order], atol=1e-6)
    assert found.rows[0].tolist() == list(range(12))
    shuffled = from_scores(answers[metric], metric=metric, sort=True, **how)
    assert shuffled.rows[0].tolist() == order.tolist()


def test_each_query_has_its_own_number_of_vectors():
    reading = ScoreReading("maxsim-sum", n_query_vectors=[2, 4])
    valid = np.ones((2, 2), bool)
    found = reading.similarities(np.array([[1.0, 0.5], [1.0, 0.5]]), valid)
    assert found.tolist() == [[0.5, 0.25], [0.25, 0.125]]
    with pytest.raises(SettingError, match="each of the 2 queries"):
        ScoreReading("maxsim-sum", n_query_vectors=[1, 2, 3]).similarities(np.ones((2, 2)), valid)
    with pytest.raises(SettingError, match="at least 1"):
        ScoreReading("maxsim-sum", n_query_vectors=0).similarities(np.ones((2, 2)), valid)
    for count in (2.5, "3", [2, float("nan")], [True, True]):
        with pytest.raises(SettingError, match="give a whole number of at least 1"):
            ScoreReading("maxsim-sum", n_query_vectors=count).similarities(np.ones((2, 2)), valid)
    ScoreReading("maxsim-sum", n_query_vectors=3.0).similarities(np.ones((2, 2)), valid)


def test_distances_are_not_sorted_upside_down():
    rising = np.linspace(0.1, 0.9, 9)
    with pytest.raises(ShortlistError, match=r"its 9 scores only rise, from 0\.1 to 0\.9.*upside"):
        from_scores(rising, sort=True)
    with pytest.raises(ShortlistError, match="only rise"):
        from_scores([0.1, 0.1, 0.2, 0.3, 0.4, 0.5], sort=True)  # two copies of one picture
    assert from_scores(rising, sort=True, higher_is_better=True).rows[0, 0] == 8
    lower = from_scores(rising, sort=True, higher_is_better=False)
    assert lower.rows[0, 0] == 0 and np.allclose(lower.scores[0], -rising)
    assert from_scores(rising, metric="l2", sort=True).rows[0, 0] == 0
    assert from_scores([0.1, 0.2, 0.3], sort=True).rows[0].tolist() == [2, 1, 0]
    assert from_scores([0.5] * 9, sort=True).rows[0].tolist() == list(range(9))
    with pytest.raises(ShortlistError, match=r"only fall.*similarities"):
        from_scores(rising[::-1], metric="cosine-distance", sort=True)


def test_one_upside_down_list_of_a_batch_is_named():
    ids = [LETTERS[:5], LETTERS[:7], []]
    scores = [[0.9, 0.1, 0.5, 0.3, 0.2], [1, 2, 3, 4, 5, 6, 7], []]
    with pytest.raises(ShortlistError, match="query 1: its 7 scores only rise, from 1 to 7"):
        Shortlist.from_ids(Letters(), ids, scores, sort=True)


@pytest.mark.parametrize(
    ("scores", "how", "message"),
    [
        ([0.1, 0.5], {}, r"higher than 0\.1.*distances, say which with metric=.*sort=True"),
        ([0.5, 0.1], {"metric": "l2"}, r"lower than 0\.5.*lower is better.*similarities"),
        ([0.5, 0.1], {"higher_is_better": False}, "lower is better"),
        ([-0.5, 0.1], {"metric": "l2"}, "-0.5 at position 0 is negative, which no l2 is"),
    ],
)
def test_wrong_order_or_metric(scores, how, message):
    with pytest.raises(ShortlistError, match=message):
        from_scores(scores, **how)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"metric": "cosine"}, "metric='cosine' is unknown.*use one of cosine-distance"),
        ({"metric": "l2_squared"}, "did you mean l2-squared"),
        ({"metric": 3}, "metric=3 is unknown"),
        ({"metric": "l2", "higher_is_better": True}, "lower is better.*the opposite"),
        ({"metric": "inner-product", "higher_is_better": False}, "higher is better"),
        ({"metric": "maxsim-sum"}, "n_query_vectors"),
    ],
)
def test_settings(how, message):
    with pytest.raises(SettingError, match=message):
        ScoreReading(**how)


def test_a_metric_needs_scores():
    for how in ({"metric": "l2"}, {"higher_is_better": False}):
        with pytest.raises(SettingError, match="pass scores"):
            Shortlist.from_ids(Letters(), [["a"]], **how)


@given(st.integers(0, 99), st.sampled_from(DISTANCES), st.integers(0, 12))
def test_empty_slots_and_order_survive(seed, metric, filled):
    dots, answers = search(seed)
    order = np.argsort(-dots)[:filled]
    ids = [LETTERS[:filled], LETTERS[:3]]
    found = Shortlist.from_ids(
        Letters(), ids, [answers[metric][order], [0.0, 0.5, 2.0]], metric=metric
    )
    assert (found.scores[found.rows < 0] == -np.inf).all()
    assert found.rows[0, :filled].tolist() == list(range(filled))
