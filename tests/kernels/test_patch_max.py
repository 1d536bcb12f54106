from __future__ import annotations

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_twins import KINDS, gallery, make_store, patch_max_twin, rounded, shortlists
from patchrerank.errors import SettingError
from patchrerank.kernels import (
    Float16Store,
    Float32Store,
    Int8Store,
    RescoredStore,
    patch_max,
    quantise_int8,
)
from patchrerank.kernels.rows import row_products
from prepared import python

DEVICES = ("cpu", "torch:cpu")


def check_against_twin(answer, queries, store, ends, rows):
    scores, patches = answer
    want_scores, want_patches, gaps = patch_max_twin(queries, store, ends, rows)
    assert scores.dtype == np.float32
    assert patches.dtype == np.int64
    off = 2e-4 + rounded(store, queries)
    if isinstance(store, Int8Store) and queries.size and len(store):  # queries of 16 bits
        longest = np.abs(store.decode(np.arange(len(store)))).sum(axis=1).max()
        off += float(np.abs(queries).max() / 65534 * longest)
    np.testing.assert_allclose(scores, want_scores, rtol=2e-5, atol=off)
    clear = gaps > 5 * off
    np.testing.assert_array_equal(patches[clear], want_patches[clear])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dim=st.integers(1, 70),
    images=st.integers(1, 12),
    queries=st.integers(0, 6),
    width=st.integers(0, 11),
)
def test_equals_the_slow_twin(device, kind, seed, dim, images, queries, width):
    rng = np.random.default_rng(seed)
    vectors, ends = gallery(rng, images, dim)
    store = make_store(kind, vectors, rng)
    wanted = rng.standard_normal((queries, dim), dtype=np.float32)
    rows = shortlists(rng, queries, width, images)
    answer = patch_max(wanted, store, ends, rows, device=device)
    check_against_twin(answer, wanted, store, ends, rows)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 70), threads=st.integers(1, 5))
def test_same_bits_alone_together_and_on_any_number_of_threads(kind, seed, dim, threads):
    rng = np.random.default_rng(seed)
    vectors, ends = gallery(rng, 8, dim)
    store = make_store(kind, vectors, rng)
    queries = rng.standard_normal((7, dim), dtype=np.float32)
    rows = shortlists(rng, 7, 9, 8)  # every image is wanted by several queries
    scores, patches = patch_max(queries, store, ends, rows, threads=threads)
    for query in range(7):
        here = slice(query, query + 1)
        alone, where = patch_max(queries[here], store, ends, rows[here])
        np.testing.assert_array_equal(scores[here], alone)
        np.testing.assert_array_equal(patches[here], where)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_of_equal_patches_the_lowest_wins(device, kind):
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.standard_normal((1, 40), dtype=np.float32), 23, axis=0)
    store = make_store(kind, vectors, rng)
    if kind.startswith("pq"):
        store.codes[:] = store.codes[0]
    queries = rng.standard_normal((3, 40), dtype=np.float32)
    _, patches = patch_max(
        queries, store, np.array([11, 11, 23]), np.array([[0, 1, 2]] * 3), device=device
    )
    np.testing.assert_array_equal(patches, [[0, -1, 0]] * 3)


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_images_of_very_different_sizes_are_all_walked_to_their_ends(kind):
    rng = np.random.default_rng(5)
    counts = np.array([300, 0, 1, 2, 3, 70, 1, 0, 0, 45, 1, 1, 200, 5, 6, 7, 8, 9, 10, 0, 1])
    ends = np.cumsum(counts)
    store = make_store(kind, rng.standard_normal((ends[-1], 48), dtype=np.float32), rng)
    queries = rng.standard_normal((9, 48), dtype=np.float32)
    orders = [np.arange(21), np.arange(21)[::-1], rng.permutation(21)]
    for order in orders:  # one query walks lists, several share images
        for wanted in (queries[:1], queries):
            rows = np.tile(order, (len(wanted), 1))
            answer = patch_max(wanted, store, ends, rows)
            check_against_twin(answer, wanted, store, ends, rows)


@pytest.mark.parametrize("queries", [1, 5])
def test_scores_that_overflow_still_name_a_patch(queries):
    vectors = np.full((3, 20), -3e38, dtype=np.float32)
    scores, patches = patch_max(
        np.ones((queries, 20), np.float32),
        Float32Store(vectors),
        np.array([3]),
        np.zeros((queries, 1), np.int64),
    )
    assert (scores == -np.inf).all()
    assert (patches == 0).all()


@pytest.mark.parametrize("offset", [0, 64, 3])
@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_reads_memory_maps_in_place_at_any_offset(tmp_path, kind, offset):
    rng = np.random.default_rng(1)
    vectors, ends = gallery(rng, 9, 37)
    store = make_store(kind, vectors, rng)
    data = store.codes if kind == "int8" else store.data
    path = tmp_path / "patches.bin"
    path.write_bytes(b"x" * offset + data.tobytes())
    mapped = np.memmap(path, dtype=data.dtype, mode="r", offset=offset, shape=data.shape)
    same = {
        "float32": Float32Store,
        "float16": Float16Store,
        "int8": lambda codes: Int8Store(codes, store.scales),
    }[kind](mapped)
    queries = rng.standard_normal((3, 37), dtype=np.float32)
    rows = shortlists(rng, 3, 8, 9)
    for got, want in zip(
        patch_max(queries, same, ends, rows), patch_max(queries, store, ends, rows), strict=True
    ):
        np.testing.assert_array_equal(got, want)
    assert np.shares_memory(same.codes if kind == "int8" else same.data, mapped)


def test_read_only_arrays_are_welcome():
    rng = np.random.default_rng(2)
    vectors, ends = gallery(rng, 5, 16)
    store = Int8Store(*quantise_int8(vectors))
    queries = rng.standard_normal((1, 16), dtype=np.float32)
    rows = shortlists(rng, 1, 4, 5)
    want = patch_max(queries, store, ends, rows)
    for array in (store.codes, store.scales, ends, queries, rows):
        array.flags.writeable = False
    np.testing.assert_array_equal(patch_max(queries, store, ends, rows)[0], want[0])


def test_many_python_threads_at_once_get_the_same_answers():
    rng = np.random.default_rng(3)
    vectors, ends = gallery(rng, 30, 64)
    store = Float32Store(vectors)
    jobs = [
        (rng.standard_normal((4, 64), dtype=np.float32), shortlists(rng, 4, 20, 30))
        for _ in range(40)
    ]
    want = [patch_max(queries, store, ends, rows)[0] for queries, rows in jobs]
    with ThreadPoolExecutor(8) as pool:
        got = pool.map(lambda job: patch_max(job[0], store, ends, job[1], threads=2)[0], jobs)
        for one, other in zip(got, want, strict=True):
            np.testing.assert_array_equal(one, other)


FORK = """
import os, signal
import numpy as np
from patchrerank.kernels import Float32Store, chamfer, patch_max
rng = np.random.default_rng(0)
store = Float32Store(rng.standard_normal((60, 32), dtype=np.float32))
ends, rows = np.arange(6, 61, 6), rng.integers(0, 10, (3, 8))
queries = rng.standard_normal((3, 32), dtype=np.float32)
def answer():
    scores, _ = patch_max(queries, store, ends, rows, threads=2)
    return scores, chamfer(queries, np.array([1, 2, 3]), store, ends, rows, threads=2)
before = answer()
child = os.fork()
if child == 0:
    signal.alarm(30)
    same = all(np.array_equal(a, b) for a, b in zip(before, answer()))
    os._exit(0 if same else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert all(np.array_equal(a, b) for a, b in zip(before, answer()))
"""


def test_works_in_a_fork_after_use_in_the_parent():
    done = python("-c", FORK)
    assert done.returncode == 0, done.stderr


NARROW = """
import numpy as np
from patchrerank.kernels import *
from patchrerank.kernels import _sets
assert (_sets.WIDTH, _sets.VECTORS, _sets.HAS_INT8, _sets.HAS_BYTES) == (8, 2, False, BYTES)
rng = np.random.default_rng(0)
data = rng.standard_normal((60, 36), dtype=np.float32)
ends, rows = np.arange(6, 61, 6), rng.integers(0, 10, (3, 8))
queries = rng.standard_normal((30, 36), dtype=np.float32)
"""
REQUEST = """
store = Float16Store(data.astype("f2"))
table = np.einsum("knd,qd->qkn", store.decode(np.arange(60)).reshape(10, 6, 36), queries).max(2)
got = patch_max(queries[:1], store, ends, rows[:1])[0]
np.testing.assert_allclose(got, table[:1, rows[0]], atol=1e-4)
got = chamfer(queries[:10], np.array([10]), store, ends, rows[:1])
np.testing.assert_allclose(got, table[:10].mean(0)[None, rows[0]], atol=1e-4)
"""
EVERY_STORE = """
for store in (Float32Store(data), Float16Store(data.astype("f2")), Int8Store(*quantise_int8(data))):
    blocks = store.decode(np.arange(60)).reshape(10, 6, 36)
    table = np.einsum("knd,qd->qkn", blocks, queries)
    want = table.max(2)[np.arange(3)[:, None], rows]
    off = 1e-3 if isinstance(store, Int8Store) else 1e-4
    np.testing.assert_allclose(patch_max(queries[:3], store, ends, rows)[0], want, atol=off)
    want = table.max(2).reshape(3, 10, 10).mean(1)[np.arange(3)[:, None], rows]
    got = chamfer(queries, np.array([10, 20, 30]), store, ends, rows)
    np.testing.assert_allclose(got, want, atol=1e-4)
small, exact = Int8Store(*quantise_int8(data)), Float32Store(data)
blocks = data.reshape(10, 6, 36)
want = np.einsum("knd,qd->qkn", blocks, queries).max(2).reshape(3, 10, 10).mean(1)
want = want[np.arange(3)[:, None], rows]
set_ends = np.array([10, 20, 30])
got = chamfer_rescored(queries, set_ends, small, exact, ends, rows, rescore=0)
np.testing.assert_allclose(got, want, atol=0.3)
got = chamfer_rescored(queries, set_ends, small, exact, ends, rows, rescore=8)
np.testing.assert_array_equal(got, chamfer(queries, set_ends, exact, ends, rows))
codes = np.tile(np.array([[127, -127, -128, 1]], np.int8), (7, 10))[:, :37].copy()
small, exact = Int8Store(codes, np.ones(7, np.float32)), Float32Store(codes.astype("f4"))
for query in (codes[:3], -codes[:3], np.sign(codes[:3]), rng.standard_normal((3, 37)) ** 5):
    query = query.astype("f4")  # sums of 16 bits are as full as they can be
    one = np.array([3]), np.array([7]), np.array([[0]])
    got = chamfer_rescored(query, one[0], small, exact, *one[1:], rescore=0)
    want = chamfer(query, one[0], exact, *one[1:])
    steps = 124 if BYTES else 1e9
    far = np.sqrt(37) / 2 * 8 * np.abs(query).max() / steps * np.linalg.norm(codes[0].astype("f4"))
    assert abs(got - want) <= far + 1e-5 * abs(want)
for bits in (1, 2, 3, 4):
    store = RabitqStore(*quantise_rabitq(data, bits), 36)
    table = np.einsum("knd,qd->qkn", store.decode(np.arange(60)).reshape(10, 6, 36), queries)
    want = table.max(2)[np.arange(3)[:, None], rows]
    np.testing.assert_allclose(patch_max(queries[:3], store, ends, rows)[0], want, atol=2e-2)
"""


AVX2 = ("x86_64", "haswell", "+avx2,+fma,+f16c")
PLAIN = ("x86_64", "x86-64", "+avx,+f16c")
ARM = ("aarch64", "cortex-a72", "+neon")


@pytest.mark.parametrize(
    ("machine", "name", "features", "checks"),
    [
        pytest.param(*AVX2, REQUEST, id="one request on avx2"),
        pytest.param(*AVX2, EVERY_STORE, id="avx2", marks=pytest.mark.slow),
        pytest.param(*PLAIN, EVERY_STORE, id="plain", marks=pytest.mark.slow),
        pytest.param(*ARM, EVERY_STORE, id="arm", marks=pytest.mark.slow),
    ],
)
def test_works_on_a_processor_without_wide_vectors(machine, name, features, checks):
    env = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    code = f"BYTES = {'avx2' in features}\n{NARROW}{checks}"
    if sys.platform != "linux" or platform.machine() != machine:
        pytest.skip(f"the narrow target is one of {machine}")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env={**os.environ, **env})


def test_importing_the_package_stays_cheap():
    code = (
        "import sys, patchrerank.kernels\n"
        "print(sorted({'numba', 'torch', 'faiss'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("codes", "exact"), [("rabitq1", "int8"), ("pq4", "float16")])
@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_the_best_by_codes_are_scored_again(codes, exact, device):
    rng = np.random.default_rng(3)
    data, ends = gallery(rng, 40, 24)
    rough, fine = make_store(codes, data, rng), make_store(exact, data, rng)
    queries, rows = rng.standard_normal((3, 24), dtype=np.float32), shortlists(rng, 3, 30, 40)
    how = {"device": device}
    by_codes, whole = (patch_max(queries, one, ends, rows, **how) for one in (rough, fine))
    for best in (0, 1, 7, 29, 30, 99):
        store = RescoredStore(rough, fine, best)
        scores, patches = patch_max(queries, store, ends, rows, **how)
        alone = [patch_max(queries[[q]], store, ends, rows[[q]], **how) for q in range(3)]
        if device == "cpu":
            for one, table in enumerate((scores, patches)):
                assert np.array_equal(table, np.concatenate([found[one] for found in alone]))
        for query in range(3):
            order = np.argsort(-by_codes[0][query], kind="stable")
            again, others = order[:best], order[best:]
            assert np.allclose(scores[query, again], whole[0][query, again], atol=1e-6)
            assert device != "cpu" or np.array_equal(scores[query, again], whole[0][query, again])
            assert np.array_equal(patches[query, again], whole[1][query, again])
            assert np.array_equal(patches[query, others], by_codes[1][query, others])
            filled = others[np.isfinite(by_codes[0][query, others])]
            empty = others[~np.isfinite(by_codes[0][query, others])]
            assert (np.diff(scores[query, filled]) <= 0).all()
            assert (scores[query, empty] == -np.inf).all()
            if len(filled) and best:
                assert scores[query, filled[0]] < scores[query, again].min()
    products = row_products(queries[0], store, np.arange(9))
    assert np.array_equal(products, row_products(queries[0], fine, np.arange(9)))
    with pytest.raises(SettingError, match="same rows"):
        RescoredStore(rough, make_store(exact, data[1:], rng))
    with pytest.raises(SettingError, match="at least 0"):
        RescoredStore(rough, fine, -1)
