"""Arrays in several places give what one array gives, bit for bit, and open no part unasked."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_twins import KINDS, gallery, make_store, shortlists
from patchrerank.errors import SettingError, ShortlistError
from patchrerank.kernels import (
    Int8Store,
    PQStore,
    RabitqStore,
    chamfer_matches,
    chamfer_rescored,
    patch_max,
)
from patchrerank.kernels.checks import check_spans
from patchrerank.kernels.ids import find_rows, table_of
from patchrerank.kernels.patches import best_rows
from patchrerank.kernels.rows import row_products
from patchrerank.kernels.segments import Segments, span_bytes, spans_of, taken

CUTS = [0, 0, 7, 8, 8, 30, 41, 60, 60]  # images: parts of many, one and none
IMAGES = CUTS[-1]


def in_parts(array, cuts, asked=None, shifts=None):
    """The array cut into parts that lie apart; ``asked`` gathers which were opened."""
    cuts = np.asarray(cuts)
    pieces = [array[a:b].copy() for a, b in pairwise(cuts)]
    if shifts is not None:
        pieces = [piece - shift for piece, shift in zip(pieces, shifts, strict=False)]

    def opened(number):
        if asked is not None:
            asked.append(number)
        return pieces[number]

    return Segments(cuts, array.dtype, array.shape[1:], opened, shifts)


def ends_in_parts(ends, cuts=CUTS, asked=None):
    vectors = np.concatenate([[0], ends])[np.asarray(cuts)]
    return in_parts(ends, cuts, asked, vectors), vectors


def store_in_parts(store, vectors):
    if isinstance(store, PQStore):
        return PQStore(in_parts(store.codes, vectors), store.centroids)
    if isinstance(store, Int8Store):
        return Int8Store(in_parts(store.codes, vectors), in_parts(store.scales, vectors))
    if isinstance(store, RabitqStore):
        parts = in_parts(store.codes, vectors), in_parts(store.scales, vectors)
        return RabitqStore(*parts, store.dim)
    return type(store)(in_parts(store.data, vectors))


def case(kind, seed=0, queries=3, width=40, dim=24):
    rng = np.random.default_rng(seed)
    vectors, ends = gallery(rng, IMAGES, dim)
    whole = make_store(kind, vectors, rng)
    parted, cuts = ends_in_parts(ends)
    rows = shortlists(rng, queries, width, IMAGES)
    asked = rng.standard_normal((queries, dim), dtype=np.float32)
    return asked, rows, (whole, ends), (store_in_parts(whole, cuts), parted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_best_patches_are_those_of_one_array(kind, queries, threads):
    asked, rows, whole, parts = case(kind, queries=queries)
    for mine, theirs in zip(
        (*patch_max(asked, *parts, rows, threads=threads), best_rows(asked, *parts, rows)[1]),
        (*patch_max(asked, *whole, rows), best_rows(asked, *whole, rows)[1]),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_best_patches_in_torch_too(kind):
    asked, rows, whole, parts = case(kind)
    found = patch_max(asked, *parts, rows, device="torch:cpu")
    for mine, theirs in zip(found, patch_max(asked, *whole, rows, device="torch:cpu"), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_decoded_rows_and_products(kind):
    asked, _, (whole, _), (parts, _) = case(kind)
    rows = np.random.default_rng(1).integers(0, len(whole), 200)
    np.testing.assert_array_equal(parts.decode(rows), whole.decode(rows))
    np.testing.assert_array_equal(
        row_products(asked[0], parts, rows), row_products(asked[0], whole, rows)
    )


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_sets_of_descriptors(kind):
    asked, rows, whole, parts = case(kind, queries=5)
    mine, theirs = (chamfer_matches(asked, *one, rows[0]) for one in (parts, whole))
    np.testing.assert_array_equal(mine.scores, theirs.scores)
    np.testing.assert_array_equal(mine.descriptors, theirs.descriptors)


def test_rescored_sets():
    asked, rows, (exact, ends), (exact_parts, ends_parts) = case("float32", queries=5)
    _, _, (rough, _), (rough_parts, _) = case("int8", queries=5)
    how = (asked, np.array([5]))
    np.testing.assert_array_equal(
        chamfer_rescored(*how, rough_parts, exact_parts, ends_parts, rows[:1], rescore=5),
        chamfer_rescored(*how, rough, exact, ends, rows[:1], rescore=5),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.data())
def test_rows_and_slices_are_those_of_one_array(sizes, data):
    cuts = np.cumsum([0, *sizes])
    array = np.arange(2 * cuts[-1], dtype=np.float16).reshape(-1, 2)
    parts = in_parts(array, cuts)
    assert (len(parts), parts.shape, parts.ndim) == (len(array), array.shape, 2)
    np.testing.assert_array_equal(np.asarray(parts), array)
    bound = st.integers(-len(array) - 2, len(array) + 2) | st.none()
    steps = st.sampled_from([None, 1, 2, -1])
    part = slice(data.draw(bound), data.draw(bound), data.draw(steps))
    np.testing.assert_array_equal(parts[part], array[part])
    if len(array):
        rows = data.draw(st.lists(st.integers(-len(array), len(array) - 1), max_size=9))
        rows = np.array(rows, dtype=np.int64)
        np.testing.assert_array_equal(parts[rows], array[rows])
        np.testing.assert_array_equal(parts[rows[None]], array[rows[None]])
        assert (parts[-1] == array[-1]).all() and parts[0].shape == (2,)


@pytest.mark.parametrize("key", [100, -101, [3, 100], (0, 1), [True, False], 1.5])
def test_what_no_rows_are_is_refused(key):
    with pytest.raises(IndexError):
        in_parts(np.arange(100), [0, 30, 100])[key]


def test_counts_are_shifted():
    ends = np.cumsum([3, 0, 2, 4, 1, 0, 5])
    parts, _ = ends_in_parts(ends, [0, 2, 2, 5, 7])
    np.testing.assert_array_equal(np.asarray(parts), ends)
    np.testing.assert_array_equal(parts[np.array([6, 0, 4])], ends[[6, 0, 4]])
    np.testing.assert_array_equal(parts[1:6], ends[1:6])
    assert parts[4] == ends[4] and np.diff(parts, prepend=0).tolist() == [3, 0, 2, 4, 1, 0, 5]


def test_only_parts_that_are_asked_for_are_opened():
    ends = np.cumsum(np.full(IMAGES, 2))
    asked = []
    parts, vectors = ends_in_parts(ends, asked=asked)
    check_spans([[8, -1]], parts, int(ends[-1]))  # the first of its part needs none before it
    assert asked == [4]
    data = np.arange(2 * IMAGES, dtype=np.float32)
    opened = []
    values = in_parts(data, vectors, opened)
    np.testing.assert_array_equal(values[np.array([15, 16, 15])], [15, 16, 15])
    assert opened == [2, 4]
    assert len(values) == 2 * IMAGES and opened == [2, 4]


def test_rows_beyond_and_counts_that_fall_are_refused():
    _, _, _, (store, ends) = case("float32")
    with pytest.raises(ShortlistError, match="row 60 is not in a store of 60 images"):
        patch_max(np.zeros((1, 24), np.float32), store, ends, [[60]])
    falling = np.array([2, 5, 4, 6])
    parts = in_parts(falling, [0, 4], shifts=np.array([0, 6]))
    with pytest.raises(SettingError, match=r"ends\[2\] = 4 is not between"):
        check_spans([[2]], parts, 6)
    beyond = in_parts(np.array([2, 3, 4, 9]), [0, 2, 4], shifts=np.array([0, 2, 9]))
    assert spans_of(np.array([1]), beyond, 9)[2] == 0  # its part holds 2 vectors, not 3


def test_missing_rows_and_spans():
    values = in_parts(np.arange(6, dtype=np.float32).reshape(3, 2), [0, 1, 3])
    found = taken(values, np.array([2, -1, 0]), missing=np.nan)
    np.testing.assert_array_equal(found, [[4, 5], [np.nan, np.nan], [0, 1]])
    blob = in_parts(np.frombuffer(b"abcdefgh", np.uint8), [0, 5, 8])
    spans = span_bytes(blob, np.array([6, 0, 3]), np.array([2, 3, 1]))
    assert spans.tobytes() == b"ghabcd"


@given(st.lists(st.text(min_size=1, max_size=12), unique=True, min_size=1, max_size=30), st.data())
def test_ids_in_parts_are_found(ids, data):
    raw = [item.encode() for item in ids]
    ends = np.cumsum([len(item) for item in raw])
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=4))), len(ids)]
    parts, before = ends_in_parts(ends, cuts)
    blob = in_parts(np.frombuffer(b"".join(raw), np.uint8), before)
    table, twice = table_of(blob, parts, 64)
    whole, _ = table_of(np.frombuffer(b"".join(raw), np.uint8), ends, 64)
    np.testing.assert_array_equal(table, whole)
    fresh, _ = ends_in_parts(ends, cuts)
    asked = [*raw, b"absent, and longer"]
    stops = np.cumsum([len(item) for item in asked])
    blob = in_parts(np.frombuffer(b"".join(raw), np.uint8), before)
    found = find_rows(b"".join(asked), stops, table, blob, fresh)
    assert twice == -1 and found.tolist() == [*range(len(ids)), -1]


def test_an_id_that_stands_in_two_parts_is_told():
    raw = np.frombuffer(b"abcab", np.uint8)
    parts, before = ends_in_parts(np.array([1, 2, 3, 5]), [0, 3, 4])
    assert table_of(in_parts(raw, before), parts, 8)[1] == -1
    parts, before = ends_in_parts(np.array([1, 2, 3, 4, 5]), [0, 3, 5])
    assert table_of(in_parts(raw, before), parts, 8)[1] == 3
