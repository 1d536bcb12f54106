from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from patchrerank.errors import SettingError, ShortlistError
from patchrerank.fusion import Fusion, fuse
from patchrerank.types import LocalScores, Ranking, Shortlist


def shortlist_of(scores):
    scores = np.sort(np.asarray(scores, dtype=np.float32), axis=1)[:, ::-1]
    return Shortlist(np.tile(np.arange(scores.shape[1]), (len(scores), 1)), scores)


def slow_ranking(shortlist, local, lam, gamma, size):
    """One query at a time, Python's own stable sort."""
    rows = []
    for g_row, l_row, r_row in zip(shortlist.scores, local, shortlist.rows, strict=True):
        size_here = len(r_row) if size is None else min(size, len(r_row))
        sigmoid = [1 / (1 + math.exp(-gamma * float(x))) for x in l_row]
        fused = [lam * float(g) + (1 - lam) * s for g, s in zip(g_row, sigmoid, strict=True)]
        if lam == 0 and gamma > 0:
            fused = [float(x) for x in l_row]
        head = sorted(range(size_here), key=lambda n: -fused[n])
        rows.append([r_row[n] for n in head] + list(r_row[size_here:]))
    return np.array(rows).reshape(shortlist.rows.shape)


pairs = st.integers(0, 12).flatmap(
    lambda k: st.tuples(
        hnp.arrays(np.float32, (2, k), elements=st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75])),
        hnp.arrays(np.float32, (2, k), elements=st.sampled_from([-2.0, -0.5, 0.0, 0.25, 3.0])),
    )
)


@given(pairs, st.floats(0, 1), st.floats(0, 5), st.one_of(st.none(), st.integers(0, 15)))
def test_equals_the_slow_twin_ties_included(pair, lam, gamma, size):
    shortlist, local = shortlist_of(pair[0]), pair[1]
    ranking = Fusion(lam, gamma, size).apply(Ranking.of(shortlist), LocalScores(local))
    assert np.array_equal(ranking.rows, slow_ranking(shortlist, local, lam, gamma, size))


@given(pairs, st.floats(0, 5))
def test_lam_one_and_size_zero_give_back_the_first_stage(pair, gamma):
    shortlist, local = shortlist_of(pair[0]), LocalScores(pair[1])
    for fusion in (Fusion(1.0, gamma), Fusion(0.3, gamma, 0)):
        ranking = fusion.apply(Ranking.of(shortlist), local)
        assert np.array_equal(ranking.rows, shortlist.rows)
        assert np.array_equal(ranking.scores, shortlist.scores)


@given(pairs)
def test_gamma_zero_keeps_the_order(pair):
    ranking = Fusion(0.0, 0.0).apply(Ranking.of(shortlist_of(pair[0])), LocalScores(pair[1]))
    assert np.array_equal(ranking.rows, shortlist_of(pair[0]).rows)


def test_components_stay_beside_the_fused_score():
    shortlist = shortlist_of([[0.9, 0.8, 0.7, 0.6]])
    boxes = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
    local = LocalScores(np.array([[0.0, 4.0]], np.float32), boxes)
    ranking = Fusion(0.5, 1.0, 2).apply(Ranking.of(shortlist), local)
    assert ranking.rows.tolist() == [[1, 0, 2, 3]]
    assert np.allclose(ranking.global_scores, [[0.8, 0.9, 0.7, 0.6]])
    assert ranking.local_scores[0, :2].tolist() == [4.0, 0.0]
    assert np.isnan(ranking.local_scores[0, 2:]).all()
    assert ranking.boxes[0, 0].tolist() == [4, 5, 6, 7]
    assert np.isnan(ranking.boxes[0, 2:]).all()
    assert ranking.scores[0, 0] == pytest.approx(0.5 * 0.8 + 0.5 / (1 + math.exp(-4)))
    assert ranking.scores[0, 2:].tolist() == shortlist.scores[0, 2:].tolist()


def test_empty_slots_stay_last():
    shortlist = Shortlist(np.array([[3, -1]]), np.array([[0.1, 0.0]], np.float32))
    local = LocalScores(np.array([[-5.0, -np.inf]], np.float32))
    assert Fusion(0.0, 1.0).apply(Ranking.of(shortlist), local).rows.tolist() == [[3, -1]]


def test_no_evidence_counts_as_sigma_zero():
    nothing = np.float32([-np.inf])
    assert np.float32(fuse(np.float32([0.5]), nothing, 0.4, 2.0)) == np.float32(0.2)
    assert np.float32(fuse(np.float32([0.5]), nothing, 0.0, 0.0)) == np.float32(0.5)


@pytest.mark.parametrize(
    "bad",
    [
        {"lam": -0.1},
        {"lam": 1.1},
        {"gamma": -1.0},
        {"gamma": float("inf")},
        {"lam": float("nan")},
        {"shortlist_size": -1},
    ],
)
def test_settings_are_checked(bad):
    with pytest.raises(SettingError):
        Fusion(**bad)


def test_too_few_local_scores():
    with pytest.raises(ShortlistError, match="3 candidates"):
        Fusion().apply(
            Ranking.of(shortlist_of([[0.3, 0.2, 0.1]])), LocalScores(np.zeros((1, 2), np.float32))
        )


def test_a_saturated_sigmoid_makes_no_ties_at_lam_zero():
    local = np.array([[1.0, 3.0, 2.0]], np.float32)
    ranking = Fusion(0.0, 50.0).apply(
        Ranking.of(shortlist_of([[0.3, 0.2, 0.1]])), LocalScores(local)
    )
    assert ranking.rows.tolist() == [[1, 2, 0]]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lam": "0.3"}, "lam must be a number, got '0.3'"),
        ({"lam": None}, "lam must be a number, got None"),
        ({"gamma": [4]}, "gamma must be a number"),
        ({"shortlist_size": "all"}, r"whole number or None \(all\), got 'all'"),
        ({"shortlist_size": 2.5}, r"whole number or None \(all\), got 2.5"),
    ],
)
def test_settings_of_the_wrong_type(settings, words):
    with pytest.raises(SettingError, match=words):
        Fusion(**settings)


def test_numbers_of_numpy_are_numbers():
    made = Fusion(np.float32(0.25), np.int64(4), np.int32(3))
    assert made == Fusion(0.25, 4.0, 3)
