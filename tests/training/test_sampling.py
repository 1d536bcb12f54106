from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.errors import SettingError
from patchrerank.training.sampling import Candidates, Counts, epoch_length, split_batches


def drawn_candidates(seed, anchors=12, width=20):
    rng = np.random.default_rng(seed)
    rows = np.argsort(rng.random((anchors, 3 * width)), axis=1)[:, :width]
    rows[rng.random(rows.shape) < 0.1] = -1
    return Candidates(
        rows,
        rng.uniform(-0.5, 1, rows.shape).astype(np.float32),
        rng.random(rows.shape) < 0.4,
        least=1,
    )


@given(st.integers(0, 1000))
def test_every_anchor_once_with_a_positive_and_a_negative_of_its_own(seed):
    found = drawn_candidates(seed)
    triplets = found.draw(np.random.default_rng(seed))
    assert sorted(triplets[:, 0]) == found.anchors.tolist()
    for anchor, positive, negative in triplets:
        usable = (found.similarities[anchor] > 0) & (found.rows[anchor] >= 0)
        assert positive in found.rows[anchor][usable & found.same[anchor]]
        assert negative in found.rows[anchor][usable & ~found.same[anchor]]


@given(st.integers(0, 1000))
def test_probabilities_are_cubes_that_sum_to_one(seed):
    found = drawn_candidates(seed)
    for positive in (True, False):
        shares = found.probabilities(positive=positive)
        np.testing.assert_allclose(shares[found.anchors].sum(axis=1), 1, atol=1e-12)
        for row, similarities in zip(shares, found.similarities, strict=True):
            first, *others = np.flatnonzero(row) if row.any() else [0]
            for other in others:
                ratio = (float(similarities[other]) / float(similarities[first])) ** 3
                assert row[other] / row[first] == pytest.approx(ratio, rel=1e-9)


def test_draws_follow_the_probabilities():
    found = Candidates(
        np.arange(4)[None], np.array([[0.9, 0.5, 0.7, 0.3]], np.float32),
        np.array([[True, True, False, False]]), least=1,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    drawn = np.concatenate([found.draw(rng) for _ in range(4000)])
    for column, positive in ((1, True), (2, False)):
        shares = np.bincount(drawn[:, column], minlength=4) / len(drawn)
        np.testing.assert_allclose(shares, found.probabilities(positive=positive)[0], atol=0.03)


def test_equal_generators_draw_equal_epochs():
    found = drawn_candidates(3)
    first, second = (found.draw(np.random.default_rng(7)) for _ in range(2))
    assert (first == second).all()
    assert (first != found.draw(np.random.default_rng(8))).any()


@given(st.integers(1, 200), st.integers(1, 60))
def test_batches_close_when_they_are_full(anchors, size):
    triplets = np.zeros((anchors, 3), dtype=np.int64)
    lengths = [3 * len(part) for part in split_batches(triplets, size)]
    assert sum(lengths) == 3 * anchors
    assert all(size <= length < size + 3 for length in lengths[:-1])
    assert len(lengths) <= epoch_length(anchors, size)
    if size % 3 == 0:
        assert len(lengths) == epoch_length(anchors, size)


@given(st.integers(0, 300), st.integers(1, 50), st.integers(1, 80), st.integers(1, 80))
def test_counts_lie_below_their_bounds(seed, least, query, gallery):
    counts = Counts(least, query, gallery)
    for number, bound in zip(
        counts.draw(np.random.default_rng(seed)), (query, gallery), strict=True
    ):
        assert least <= number < bound or (bound <= least and number == bound)


def test_refusals():
    with pytest.raises(SettingError, match="no anchor"):
        Candidates(np.zeros((2, 3), int), np.zeros((2, 3), np.float32), np.zeros((2, 3), bool))
    with pytest.raises(SettingError, match="shape"):
        Candidates(np.zeros((2, 3), int), np.zeros((2, 2), np.float32), np.zeros((2, 3), bool))
    with pytest.raises(SettingError, match="at least 1"):
        Counts(0)
