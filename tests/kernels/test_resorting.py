"""A ranking's tables moved in one pass equal the same moved by numpy, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.fusion import Fusion, fuse
from patchrerank.kernels.resorting import write_order
from patchrerank.kernels.zeros import zeros_of
from patchrerank.types import LocalScores, Ranking


def slow_apply(fusion, ranking, local):
    """Sort and move each table for itself."""
    size = fusion.size_of(ranking.rows.shape[1])
    found, empty = local.scores[:, :size], ranking.rows[:, :size] == -1
    exact = fuse(ranking.scores[:, :size], found, fusion.lam, fusion.gamma)
    exact[empty] = -np.inf
    by = np.where(empty, -np.inf, found) if fusion.lam == 0 and fusion.gamma > 0 else exact
    order = np.argsort(-by, axis=1, kind="stable")
    boxes = ranking.boxes[:, :size]
    if local.boxes is not None:
        now = local.boxes[:, :size]
        boxes = np.where(np.isnan(now).any(axis=2, keepdims=True), boxes, now)
    heads = (ranking.rows, exact, ranking.global_scores, found, boxes)
    for head, whole in zip(heads, ranking.tables, strict=True):
        head = head[:, :size]
        places = order.reshape(*order.shape, *(1,) * (head.ndim - 2))
        moved = np.take_along_axis(head, places, axis=1).astype(whole.dtype)
        yield np.concatenate([moved, whole[:, size:]], axis=1)


def drawn(rng, queries, width):
    rows = np.stack([rng.permutation(50)[:width] for _ in range(queries)]).reshape(queries, width)
    rows[np.arange(width) >= rng.integers(0, width + 1, (queries, 1))] = -1
    scores = rng.choice(np.float32([-1, 0, 0.25, 0.5, np.inf, 1e30]), (queries, width))
    boxes = rng.random((queries, width, 4)).astype(np.float32)
    boxes[rng.random((queries, width)) < 0.3] = np.nan
    other = rng.random((queries, width)).astype(np.float32)
    return Ranking(rows, scores, other, other[::-1].copy(), boxes)


@given(
    st.integers(0, 2**32), st.integers(1, 3), st.integers(0, 12), st.integers(0, 14),
    st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 4.0, 400.0]), st.booleans(),
)  # fmt: skip
def test_tables_are_moved_as_numpy_moves_them(seed, queries, width, size, lam, gamma, boxed):
    rng = np.random.default_rng(seed)
    ranking, fusion = drawn(rng, queries, width), Fusion(lam, gamma, size)
    found = rng.choice(np.float32([-np.inf, -0.5, -0.0, 0.0, 0.5, 1]), (queries, width))
    boxes = rng.random((queries, width, 4)).astype(np.float32)
    boxes[rng.random((queries, width, 4)) < 0.1] = np.nan
    local = LocalScores(found, boxes if boxed else None)
    before = [table.copy() for table in ranking.tables]
    with np.errstate(invalid="ignore"):
        after = fusion.apply(ranking, local)
        expected = list(slow_apply(fusion, ranking, local))
    for table, own, same, twin in zip(after.tables, ranking.tables, before, expected, strict=True):
        assert table.dtype == own.dtype
        np.testing.assert_array_equal(table, twin)
        np.testing.assert_array_equal(own, same)


@given(st.lists(st.binary(max_size=20)), st.integers(-2, 2))
def test_zeros_are_found_or_none(parts, more):
    text = b"\0".join(parts)
    places = [place for place, byte in enumerate(text) if byte == 0]
    count = max(0, len(places) + more)
    expected = places if len(places) <= count else []
    assert zeros_of(text, count).tolist() == expected


@pytest.mark.parametrize("place", range(17))
def test_a_zero_at_any_place_of_a_word(place):
    text = bytearray(b"\x80\x81\x01\xff" * 5)[:17]
    text[place] = 0
    assert zeros_of(bytes(text), 1).tolist() == [place]


@given(st.integers(0, 2**32), st.integers(0, 600), st.integers(0, 12))
def test_places_are_those_of_a_stable_sort(seed, count, digits):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal(count).round(digits) * 10.0 ** rng.integers(-300, 300)
    odd = rng.random(count) < 0.2
    scores[odd] = rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324], odd.sum())
    rows, order = np.where(rng.random(count) < 0.1, -1, 7), np.empty(count + 2, np.int64)
    keys = np.where(rows == -1, np.inf, -scores)
    write_order(rows, np.zeros(0, np.float32), False, scores, order)
    assert order.tolist() == [*np.argsort(keys, kind="stable"), count, count + 1]
    assert (scores[rows == -1] == -np.inf).all()
