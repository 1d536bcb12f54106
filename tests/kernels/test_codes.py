"""Codes are looked up in whole numbers, whose sums are the same however they are added up."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from kernel_twins import make_store, shortlists
from patchrerank.errors import QueryError, SettingError, ShortlistError
from patchrerank.kernels import PQStore, RabitqStore, patch_max, quantise_rabitq
from patchrerank.kernels._code_tables import (
    fold_table,
    products_of,
    rotated_table,
    whole_table,
)
from patchrerank.kernels._processor import FEATURES
from patchrerank.kernels.answers import answer_at_once
from patchrerank.kernels.packed_codes import unpacked
from patchrerank.kernels.rabitq import rotation_signs
from patchrerank.kernels.segments import Segments
from prepared import python

SHAPES = (
    *((8, 64, 64), (8, 16, 64), (8, 17, 34), (8, 5, 5), (8, 300, 300), (3, 24, 24), (6, 40, 40)),
    *(
        (4, 128, 128),
        (4, 33, 33),
        (4, 9, 9),
        (4, 300, 300),
        (2, 64, 64),
        (2, 70, 70),
        (1, 130, 130),
    ),
)


def pq_store(bits, parts, dim, rows, rng):
    centroids = rng.standard_normal((parts, 1 << bits, dim // parts), dtype=np.float32)
    codes = rng.integers(0, 256, (rows, (parts * bits + 7) // 8), dtype=np.uint8)
    return PQStore(codes, centroids)


def whole_numbers(store, query):
    """Scores of all rows by the entries of the look-up table, added up one by one."""
    if isinstance(store, RabitqStore):
        table = np.empty((2 * store.codes.shape[1], 16), np.float32)
        rotated_table(query, rotation_signs(store.dim), store.bits, table)
    else:
        table = np.empty(store.centroids.shape[:2], np.float32)
        products_of(query, store.by_dimension, table)
        if store.bits in (1, 2, 4):
            products, table = table, np.empty((2 * store.codes.shape[1], 16), np.float32)
            fold_table(products, store.bits, table)
    entries = np.empty(table.shape, np.uint16)
    step, bias = whole_table(table, entries)
    most = (1 << (14 if table.shape[1] == 16 else 16)) - 1
    assert entries.min() == 0
    assert entries.max() == most
    exact = table.astype(np.float64)
    error = np.abs(entries * step - (exact - exact.min(axis=1, keepdims=True)))
    assert error.max() <= step * 0.5001
    bits = int(table.shape[1]).bit_length() - 1
    codes = unpacked(store.codes, len(table), bits)
    sums = entries[np.arange(len(table)), codes].sum(axis=1, dtype=np.int64)
    values = (step * sums + bias).astype(np.float32)
    return values * store.scales if isinstance(store, RabitqStore) else values


def check(store, queries, ends, rows):
    scores, patches = patch_max(queries, store, ends, rows)
    begins = np.concatenate([[0], ends[:-1]])
    for query, slots in enumerate(rows):
        values = whole_numbers(store, queries[query])
        for slot, image in enumerate(slots):
            own = values[begins[image] : ends[image]] if image >= 0 else values[:0]
            if len(own) == 0:
                assert (scores[query, slot], patches[query, slot]) == (-np.inf, -1)
            else:
                assert scores[query, slot] == own.max()
                assert patches[query, slot] == own.argmax()


@pytest.mark.parametrize(("bits", "parts", "dim"), SHAPES)
def test_sums_are_those_of_the_rounded_table(bits, parts, dim):
    rng = np.random.default_rng(bits * parts)
    ends = np.cumsum(rng.integers(0, 60, 40))
    store = pq_store(bits, parts, dim, int(ends[-1]), rng)
    queries = rng.standard_normal((2, dim), dtype=np.float32)
    check(store, queries, ends, shortlists(rng, 2, 50, 40))


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("dim", [3, 36, 256, 640])
def test_so_are_those_of_rotated_codes(bits, dim):
    rng = np.random.default_rng(dim)
    ends = np.cumsum(rng.integers(0, 60, 40))
    vectors = rng.standard_normal((int(ends[-1]), dim), dtype=np.float32)
    store = make_store(f"rabitq{bits}", vectors, rng)
    queries = rng.standard_normal((2, dim), dtype=np.float32)
    check(store, queries, ends, shortlists(rng, 2, 50, 40))


@pytest.mark.parametrize("counts", [[1], [0, 0], [0, 1, 0], [128], [127, 1, 0, 129], [1000, 3]])
@pytest.mark.parametrize("kind", ["pq", "pq4", "pq3", "rabitq2"])
def test_images_of_any_size(kind, counts):
    rng = np.random.default_rng(3)
    ends = np.cumsum(counts)
    store = make_store(kind, rng.standard_normal((int(ends[-1]), 40), dtype=np.float32), rng)
    rows = np.array([[*range(len(counts)), -1]])
    check(store, rng.standard_normal((1, 40), dtype=np.float32), ends, rows)


@pytest.mark.parametrize("kind", ["pq", "pq4", "rabitq3"])
def test_one_call_and_the_general_way_agree(kind):
    rng = np.random.default_rng(4)
    ends = np.cumsum(rng.integers(0, 9, 30))
    store = make_store(kind, rng.standard_normal((int(ends[-1]), 40), dtype=np.float32), rng)
    queries, rows = rng.standard_normal((3, 40), dtype=np.float32), shortlists(rng, 3, 20, 30)
    scores, patches, spans = answer_at_once(queries, store, ends, rows)
    general = patch_max(queries.tolist(), store, ends.tolist(), rows.astype(np.int32))
    np.testing.assert_array_equal(scores, general[0])
    np.testing.assert_array_equal(patches, general[1])
    np.testing.assert_array_equal(spans.begins < 0, spans.counts == 0)


@pytest.mark.parametrize("kind", ["pq", "pq4", "rabitq2"])
def test_shards_are_opened_and_then_answered_at_once(kind):
    rng = np.random.default_rng(5)
    whole = make_store(kind, rng.standard_normal((90, 24), dtype=np.float32), rng)
    starts, own = np.array([0, 30, 90]), [np.array([10, 30]), np.array([20, 20, 60])]

    def parts(array):
        pieces = np.split(array, [30])
        return Segments(starts, array.dtype, array.shape[1:], lambda part: pieces[part])

    if kind.startswith("pq"):
        store = PQStore(parts(whole.codes), whole.centroids)
    else:
        store = RabitqStore(parts(whole.codes), parts(whole.scales), whole.dim)
    ends = Segments(np.array([0, 2, 5]), np.int64, (), lambda part: own[part], starts)
    queries, rows = rng.standard_normal((2, 24), dtype=np.float32), shortlists(rng, 2, 9, 5)
    assert answer_at_once(queries, store, ends, rows) is None
    plain = patch_max(queries, whole, np.array([10, 30, 50, 50, 90]), rows)
    for _ in range(2):
        for one, other in zip(patch_max(queries, store, ends, rows), plain, strict=True):
            np.testing.assert_array_equal(one, other)
    assert answer_at_once(queries, store, ends, rows) is not None


def test_what_is_wrong_is_said_as_ever():
    rng = np.random.default_rng(6)
    store, ends = pq_store(4, 16, 16, 9, rng), np.array([3, 9])
    query, rows = rng.standard_normal((1, 16), dtype=np.float32), np.array([[0, 1]])
    bad = query.copy()
    bad[0, 3] = np.nan
    with pytest.raises(QueryError, match="NaN"):
        patch_max(bad, store, ends, rows)
    with pytest.raises(QueryError, match="shape"):
        patch_max(query[:, :8].copy(), store, ends, rows)
    with pytest.raises(ShortlistError, match="row 2"):
        patch_max(query, store, ends, np.array([[0, 2]]))
    with pytest.raises(SettingError, match="stops at"):
        patch_max(query, store, np.array([3, 8]), rows)
    with pytest.raises(SettingError, match="shortlists"):
        patch_max(query, store, ends, np.array([[0], [1]]))


@pytest.mark.parametrize("kind", ["pq1", "pq2", "pq4", "pq8", "rabitq1", "rabitq2", "rabitq4"])
def test_products_beyond_float32_are_refused(kind):
    """Look-up tables cannot hold them: every score was NaN, and every patch the first."""
    rng, ends, rows = np.random.default_rng(7), np.array([3, 3, 9]), np.array([[2, 1], [0, -1]])
    bits = int(kind[-1])
    if kind.startswith("pq"):
        store = pq_store(bits, 16, 16, 9, rng)
    else:
        vectors = rng.standard_normal((9, 16), dtype=np.float32)
        store = RabitqStore(*quantise_rabitq(vectors, bits), 16)
    plain = rng.choice(np.array([-1, 1], np.float32), (2, 16))
    huge = plain * np.array([[1], [3e38]], np.float32)
    for threads in (1, 2):
        with pytest.raises(QueryError, match=r"query vector 1 has products .* beyond float32"):
            patch_max(huge, store, ends, rows, threads=threads)
    large, small = (patch_max(plain * scale, store, ends, rows) for scale in (2.0**100, 1.0))
    np.testing.assert_array_equal(large[1], small[1])
    np.testing.assert_array_equal(large[0], small[0] * np.float32(2.0**100))
    if isinstance(store, PQStore):
        wide = PQStore(store.codes, np.clip(store.centroids, -3, 3) * np.float32(1e38))
        with pytest.raises(QueryError, match="query vector 0 has products"):
            patch_max(plain, wide, ends, rows)


CODED = """
import hashlib
import numpy as np
from patchrerank.kernels import *
rng = np.random.default_rng(0)
data, digest = rng.standard_normal((60, 72), dtype=np.float32), hashlib.sha256()
ends, rows = np.arange(6, 61, 6), rng.integers(0, 10, (3, 8))
queries = rng.standard_normal((3, 72), dtype=np.float32)
stores = [RabitqStore(*quantise_rabitq(data, bits), 72) for bits in (1, 2, 3, 4)]
for parts, bits in ((36, 8), (9, 8), (72, 4), (24, 3)):
    centroids = rng.standard_normal((parts, 1 << bits, 72 // parts), dtype=np.float32)
    codes = rng.integers(0, 256, (60, parts * bits // 8), dtype=np.uint8)
    stores.append(PQStore(codes, centroids))
for store in stores:
    table = np.einsum("knd,qd->qkn", store.decode(np.arange(60)).reshape(10, 6, 72), queries)
    want = table.max(2)[np.arange(3)[:, None], rows]
    scores = patch_max(queries, store, ends, rows)[0]
    np.testing.assert_allclose(scores, want, atol=2e-2)
    digest.update(scores.tobytes())
print("digest", digest.hexdigest())
"""


@pytest.mark.parametrize(
    ("name", "features"),
    [("haswell", "+avx2,+fma,+f16c"), ("x86-64", "+avx,+f16c")],
    ids=["avx2", "plain"],
)
def test_a_narrower_processor_finds_the_same(name, features):
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the narrow target is an x86 one")
    env = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    how = {"check": True, "timeout": 300, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", CODED], env=env, **how)
    if FEATURES.get("fma") and "+fma" in features:  # products of tables are fused alike
        assert done.stdout == python("-c", CODED).stdout
