from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from patchrerank.fusion import Fusion
from patchrerank.hit_scores import falling_scores
from patchrerank.types import LocalScores, Ranking, Shortlist

F32 = np.finfo(np.float32)
EXTREMES = [0.0, -0.0, 1.0, 1e-45, -1e-45, 1e-38, -1e-38, 3.4e38, -3.4e38, math.inf, -math.inf]


def slow_falling(scores):
    """One place at a time, with numpy's own next float."""
    found, before = [], math.inf
    for place, score in enumerate(scores):
        value = np.float32(
            np.clip(np.nan_to_num(np.float32(score), nan=-F32.max), F32.min, F32.max)
        )
        value = np.float32(0) if abs(value) < F32.tiny else value
        below = np.float32(F32.max) if before == math.inf else np.nextafter(before, -np.inf)
        if 0 < abs(below) < F32.tiny:  # no denormal: 0 from above, the smallest normal from below
            below = np.float32(0) if below > 0 else np.float32(-F32.tiny)
        value = min(value, np.float32(below))
        lowest = np.float32(F32.min)
        for _ in range(len(scores) - 1 - place):
            lowest = np.nextafter(lowest, np.float32(0))
        before = max(value, lowest)
        found.append(before)
    return np.array(found, dtype=np.float32)


def check(scores):
    found = falling_scores(scores)
    assert found.dtype == np.float32 and np.isfinite(found).all()
    assert (found[:, 1:] < found[:, :-1]).all()
    small = (found != 0) & (np.abs(found) < F32.tiny)
    assert not small.any()
    return found


floats = st.one_of(
    st.sampled_from([*EXTREMES, math.nan]),
    st.floats(width=32, allow_nan=True),
    st.floats(20, 40, width=32),
    st.floats(-1, 1, width=32),
)


@given(hnp.arrays(np.float32, st.tuples(st.just(2), st.integers(0, 15)), elements=floats))
def test_scores_fall_and_are_lowered_no_further_than_needed(scores):
    found = check(scores)
    assert np.array_equal(found, [slow_falling(row) for row in scores])


@given(st.lists(st.floats(-100, 100, width=32), unique=True, min_size=1, max_size=20))
def test_scores_that_fall_already_stay(values):
    scores = np.array([sorted(values, reverse=True)], dtype=np.float32)
    scores[np.abs(scores) < F32.tiny] = 0
    scores = np.unique(scores)[None, ::-1]
    assert np.array_equal(falling_scores(scores), scores)


@pytest.mark.parametrize("value", EXTREMES)
def test_ten_thousand_equal_scores(value):
    found = check(np.full((1, 10_000), value, dtype=np.float32))
    if value == 1.0:
        assert found[0, 0] == 1 and found[0, -1] > 0.999


def test_empty_slots_stay_empty():
    valid = np.array([[True, True, False]])
    found = falling_scores(np.array([[1.0, 1.0, -np.inf]], np.float32), valid)
    assert found.tolist() == [[1.0, float(np.nextafter(np.float32(1), np.float32(0))), -math.inf]]
    assert falling_scores(np.zeros((3, 0), np.float32)).shape == (3, 0)


@given(
    st.integers(0, 1000), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.5, 60.0]),
    st.sampled_from([None, 0, 5]), st.sampled_from([1.0, 40.0]),
)  # fmt: skip
def test_sorting_by_the_scores_of_hits_gives_back_the_ranking(seed, lam, gamma, size, scale):
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(50) for _ in range(3)])
    rows[1, 40:] = -1
    given = -np.sort(-scale * rng.random((3, 50)).astype(np.float32), axis=1)
    local = rng.normal(0, 2, (3, 50)).astype(np.float32)
    local[0, ::7] = -np.inf
    ranking = Fusion(lam, gamma, size).apply(Ranking.of(Shortlist(rows, given)), LocalScores(local))
    scores = ranking.hit_scores()
    again = np.argsort(-scores, axis=1, kind="stable")
    assert np.array_equal(again, np.tile(np.arange(50), (3, 1)))
    assert all(a > b for a, b in itertools.pairwise(scores[0].tolist()))
    assert (scores[1, 40:] == -np.inf).all() and (scores <= ranking.scores).all()
