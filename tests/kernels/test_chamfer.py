from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_twins import chamfer_twin, gallery, make_store, shortlists
from patchrerank.errors import QueryError, SettingError
from patchrerank.kernels import (
    Float32Store,
    Int8Store,
    _sets,
    chamfer,
    chamfer_matches,
    chamfer_rescored,
    quantise_int8,
)
from patchrerank.kernels._processor import multiplies_bytes
from patchrerank.kernels.set_comparison import INT8_DIMS, _limited

KINDS = ("float32", "float16", "int8")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dim=st.integers(1, 70),
    size=st.integers(1, 140),
    width=st.integers(0, 9),
)
def test_matches_equal_the_slow_twin(kind, seed, dim, size, width):
    rng = np.random.default_rng(seed)
    vectors, ends = gallery(rng, 7, dim, most=230)
    store = make_store(kind, vectors, rng)
    query = rng.standard_normal((size, dim), dtype=np.float32)
    rows = shortlists(rng, 1, width, 7)[0]
    found = chamfer_matches(query, store, ends, rows)
    best, where = chamfer_twin(query, store, ends, rows)
    np.testing.assert_allclose(found.scores, best, rtol=2e-5, atol=2e-4)
    assert (found.descriptors == where).mean() > 0.98 if where.size else True
    held = np.flatnonzero(best[:, 0] > -np.inf) if size else []
    for slot in held:  # the place that is named has the score that is named
        begin = ends[rows[slot] - 1] if rows[slot] else 0
        picked = store.decode(begin + found.descriptors[slot])
        np.testing.assert_allclose((picked * query).sum(1), found.scores[slot], atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_ragged_query_sets_and_reductions(kind, reduce):
    rng = np.random.default_rng(0)
    vectors, ends = gallery(rng, 12, 24)
    store = make_store(kind, vectors, rng)
    query_ends = np.array([3, 20, 21])
    queries = rng.standard_normal((21, 24), dtype=np.float32)
    rows = shortlists(rng, 3, 10, 12)
    scores = chamfer(queries, query_ends, store, ends, rows, reduce=reduce)
    for number, (start, stop) in enumerate([(0, 3), (3, 20), (20, 21)]):
        best, _ = chamfer_twin(queries[start:stop], store, ends, rows[number])
        want = best.mean(axis=1) if reduce == "mean" else best.sum(axis=1)
        np.testing.assert_allclose(scores[number], want, rtol=1e-4, atol=1e-3)
    for threads in (2, 3, 50):
        again = chamfer(queries, query_ends, store, ends, rows, reduce=reduce, threads=threads)
        np.testing.assert_array_equal(again, scores)


def unit_gallery(rng, images, each, dim):
    vectors = rng.standard_normal((images * each, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, np.arange(each, images * each + 1, each)


@pytest.mark.parametrize("dim", [30, 64])  # 30 does not divide by 4: the float path
def test_rescored_candidates_are_exact_and_stand_first(dim):
    rng = np.random.default_rng(1)
    vectors, ends = unit_gallery(rng, 80, 17, dim)
    store, exact = Int8Store(*quantise_int8(vectors)), Float32Store(vectors)
    query = vectors[rng.integers(0, len(vectors), 23)] + 0.02
    rows = rng.permutation(80)[None]
    want = chamfer(query, np.array([23]), exact, ends, rows)[0]
    got = chamfer_rescored(query, np.array([23]), store, exact, ends, rows, rescore=20)[0]
    top = np.argsort(-got, kind="stable")[:20]
    np.testing.assert_array_equal(got[top], want[top])
    np.testing.assert_array_equal(top[:10], np.argsort(-want, kind="stable")[:10])
    np.testing.assert_allclose(got, want, atol=0.01)
    rough = chamfer_rescored(query, np.array([23]), store, exact, ends, rows, rescore=0)[0]
    np.testing.assert_allclose(rough, want, atol=0.01)
    everything = chamfer_rescored(query, np.array([23]), store, exact, ends, rows, rescore=999)
    np.testing.assert_array_equal(everything[0], want)


def test_int8_products_are_exact_at_the_extremes():
    codes = np.tile(np.array([[127, -127, -128, 1]], np.int8), (5, 64))
    store = Int8Store(codes, np.ones(5, np.float32))
    exact = Float32Store(codes.astype(np.float32))
    query = np.tile(np.array([[127, 127, -127, -1]], np.float32), (3, 64))
    got = chamfer_rescored(
        query, np.array([3]), store, exact, np.array([5]), np.array([[0]]), rescore=0
    )
    assert got[0, 0] == float(codes[0].astype(int) @ query[0].astype(int))


def test_empty_slots_and_images_have_no_score():
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((4, 8), dtype=np.float32)
    store, ends = Float32Store(vectors), np.array([0, 4])
    rows = np.array([[0, -1, 1]])
    for rescore in (0, 40):
        scores = chamfer_rescored(
            vectors,
            np.array([4]),
            Int8Store(*quantise_int8(vectors)),
            store,
            ends,
            rows,
            rescore=rescore,
        )
        np.testing.assert_array_equal(np.isneginf(scores), [[True, True, False]])
    assert chamfer(vectors, np.array([4]), store, ends, rows[:, :0]).shape == (1, 0)
    nobody = chamfer(vectors[:0], np.zeros(0, np.int64), store, ends, rows[:0])
    assert nobody.shape == (0, 3)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-40, 1e-45])
def test_a_descriptor_of_nothing_leaves_others_their_scores(value):
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((8, 16), dtype=np.float32)
    query, ends, rows = vectors[:3] + 0.1, np.array([0, 4, 8]), np.array([[0, -1, 1, 2]])
    query[1] = value
    stores = Int8Store(*quantise_int8(vectors)), Float32Store(vectors)
    want = chamfer(query, np.array([3]), stores[1], ends, rows)
    for rescore in (0, 1, 9):
        found = chamfer_rescored(query, np.array([3]), *stores, ends, rows, rescore=rescore)
        np.testing.assert_allclose(found, want, rtol=0.05)


@pytest.mark.parametrize("size", [0.0, 1e-44, 1e-40, 1e-30, 1.0, 1e37])
def test_queries_of_any_length_are_rounded_within_sixteen_bits(size):
    query = np.random.default_rng(5).uniform(-1, 1, (9, 37)) * size
    query[3] = size
    codes, scales = _limited(query.astype(np.float32))
    groups = codes.astype(int).reshape(9, -1, _sets.GROUPS, 2, 2)
    assert np.abs(groups).sum(axis=(2, 4)).max() <= _sets.MOST
    off = np.abs(codes[:, :37] * scales[:, None].astype(float) - query)
    assert off.max() <= max(0.05 * size, 1e-43)


def test_mistakes_are_named():
    rng = np.random.default_rng(3)
    vectors, ends = unit_gallery(rng, 3, 4, 8)
    store, rows = Float32Store(vectors), np.zeros((2, 1), np.int64)
    with pytest.raises(QueryError, match="query 1 has no descriptors"):
        chamfer(vectors, np.array([12, 12]), store, ends, rows)
    with pytest.raises(SettingError, match="query_ends stops at 5"):
        chamfer(vectors, np.array([2, 5]), store, ends, rows)
    with pytest.raises(SettingError, match="'mean' or 'sum'"):
        chamfer(vectors, np.array([2, 12]), store, ends, rows, reduce="max")
    with pytest.raises(SettingError, match="decode product-quantised"):
        chamfer(vectors, np.array([2, 12]), make_store("pq", vectors, rng), ends, rows)
    int8 = Int8Store(*quantise_int8(vectors[:-1]))
    with pytest.raises(SettingError, match="the same rows"):
        chamfer_rescored(vectors, np.array([2, 12]), int8, store, ends, rows)
    int8 = Int8Store(*quantise_int8(vectors))
    with pytest.raises(SettingError, match="rescore"):
        chamfer_rescored(vectors, np.array([2, 12]), int8, store, ends, rows, rescore=-1)


def test_bytes_are_multiplied_only_where_both_instructions_are():
    for wide, bytes_ in ((True, True), (True, False), (False, True), (False, False)):
        features = {"avx512f": wide, "avx512vnni": bytes_}
        assert multiplies_bytes(features) is (wide and bytes_)
    assert not multiplies_bytes({})


def products(codes, query):
    """The score of one candidate with one descriptor, from int8 rows alone."""
    store = Int8Store(codes[None], np.ones(1, np.float32))
    exact = Float32Store(codes[None].astype(np.float32))
    one = np.array([1])
    found = chamfer_rescored(query[None], one, store, exact, one, np.array([[0]]), rescore=0)
    return float(found[0, 0]), float(chamfer(query[None], one, store, one, np.array([[0]]))[0, 0])


def test_int8_products_of_the_most_dimensions_do_not_overflow():
    query = np.full(INT8_DIMS, 127, np.float32)
    for value in (127, -128):
        found, _ = products(np.full(INT8_DIMS, value, np.int8), query)
        assert found == pytest.approx(127 * value * INT8_DIMS, rel=1e-4)
    if _sets.HAS_INT8:  # in floats, the 3 that is left is lost
        codes = np.repeat(np.array([127, -127], np.int8), INT8_DIMS // 2)
        codes[-1] += 3
        assert products(codes, query)[0] == 3 * 127


def test_more_dimensions_than_that_are_multiplied_as_floats():
    rng = np.random.default_rng(4)
    codes = rng.integers(-128, 128, INT8_DIMS + 4).astype(np.int8)
    found, floats = products(codes, rng.standard_normal(INT8_DIMS + 4, dtype=np.float32))
    assert found == floats
