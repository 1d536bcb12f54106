from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.errors import QueryError, SettingError, ShortlistError
from patchrerank.kernels import (
    Float16Store,
    Float32Store,
    Int8Store,
    PQStore,
    patch_max,
    quantise_int8,
)

STORE = Float32Store(np.ones((6, 4), np.float32))
ENDS = np.array([2, 6])
QUERY = np.ones((1, 4), np.float32)


@pytest.mark.parametrize(
    ("queries", "ends", "rows", "error", "says"),
    [
        (np.ones((1, 3)), ENDS, [[0]], QueryError, r"\(Q, 4\)"),
        (np.ones(4), ENDS, [[0]], QueryError, r"\(Q, 4\)"),
        (np.full((1, 4), np.nan), ENDS, [[0]], QueryError, "query vector 0 holds NaN"),
        (QUERY, np.array([2, 5]), [[0]], SettingError, "stops at 5, but there are 6 rows"),
        (QUERY, np.array([2.0, 6.0]), [[0]], SettingError, "int64"),
        (QUERY, np.array([7, 6]), [[1]], SettingError, "cumulative"),
        (QUERY, np.array([-1, 6]), [[0]], SettingError, "cumulative"),
        (QUERY, ENDS, [[0, 2]], ShortlistError, "query 0, slot 1: row 2 .* 2 images"),
        (QUERY, ENDS, [[-2]], ShortlistError, "row -2"),
        (QUERY, ENDS, [0], ShortlistError, r"\(Q, K\)"),
        (QUERY, ENDS, [[0.5]], ShortlistError, "integers"),
        (QUERY, ENDS, [[0], [1]], SettingError, "1 queries but 2 shortlists"),
    ],
)
def test_mistakes_are_named(queries, ends, rows, error, says):
    with pytest.raises(error, match=says):
        patch_max(queries, STORE, ends, rows)


def test_bad_threads_devices_and_stores():
    for threads in (0, 1.5):
        with pytest.raises(SettingError, match="threads"):
            patch_max(QUERY, STORE, ENDS, [[0]], threads=threads)
    with pytest.raises(SettingError, match="device 'tpu9000'"):
        patch_max(QUERY, STORE, ENDS, [[0]], device="tpu9000")
    with pytest.raises(SettingError, match="ndarray is no store; use one of Float32Store"):
        patch_max(QUERY, STORE.data, ENDS, [[0]])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Float32Store(np.ones((2, 3))), "float32 rows"),
        (lambda: Float32Store(np.ones((2, 0), np.float32)), "d >= 1"),
        (lambda: Float32Store(np.ones((2, 6), np.float32)[:, ::2]), "not C-contiguous"),
        (lambda: Float16Store(np.ones((2, 3), np.float32)), "float16 rows"),
        (lambda: Int8Store(np.ones((2, 3), np.int8), np.ones(3, np.float32)), "one scale a row"),
        (lambda: Int8Store(np.ones((2, 3), np.uint8), np.ones(2, np.float32)), "int8 rows"),
        (
            lambda: PQStore(np.ones((2, 3), np.uint8), np.ones((3, 16, 2), np.float32)),
            "16 centroids; that does not fit",
        ),
        (lambda: PQStore(np.ones((2, 3), np.uint8), np.ones((3, 256))), "float32"),
    ],
)
def test_stores_refuse_what_they_cannot_read(make, says):
    with pytest.raises(SettingError, match=says):
        make()


def test_stores_tell_their_size():
    codes = np.zeros((5, 4), np.uint8)
    pq = PQStore(codes, np.zeros((4, 256, 3), np.float32))
    assert (pq.dim, pq.bytes_per_row, len(pq)) == (12, 4, 5)
    assert (STORE.dim, STORE.bytes_per_row, len(STORE)) == (4, 16, 6)
    half = Float16Store(np.zeros((5, 4), np.float16))
    assert (half.dim, half.bytes_per_row, len(half)) == (4, 8, 5)
    int8 = Int8Store(np.zeros((5, 4), np.int8), np.ones(5, np.float32))
    assert (int8.dim, int8.bytes_per_row, len(int8)) == (4, 8, 5)


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6))
def test_int8_is_off_by_at_most_half_a_scale(seed, size):
    vectors = np.random.default_rng(seed).standard_normal((4, 9)) * size
    vectors[2] = 0
    codes, scales = quantise_int8(vectors)
    decoded = Int8Store(codes, scales).decode(np.arange(4))
    assert (np.abs(decoded - vectors) <= scales[:, None] * 0.501).all()
    assert (decoded[2] == 0).all()
    assert np.abs(codes[[0, 1, 3]]).max(axis=1).tolist() == [127] * 3


def test_vectors_to_quantise_must_be_finite():
    with pytest.raises(SettingError, match="vector 1"):
        quantise_int8(np.array([[1.0], [np.inf]]))
    assert quantise_int8(np.zeros((0, 3)))[0].shape == (0, 3)


def test_product_quantiser_decodes_like_faiss():
    faiss = pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((400, 12), dtype=np.float32)
    quantiser = faiss.ProductQuantizer(12, 4, 8)
    quantiser.train(vectors)
    codes = quantiser.compute_codes(vectors)
    centroids = faiss.vector_to_array(quantiser.centroids).reshape(4, 256, 3)
    np.testing.assert_array_equal(
        PQStore(codes, centroids).decode(np.arange(400)), quantiser.decode(codes)
    )
