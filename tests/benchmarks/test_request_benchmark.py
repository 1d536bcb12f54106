"""One request beside the kernel in it: 50,000 images of 30 patches, float16, 256-d.

``pytest tests/benchmarks/test_request_benchmark.py -m slow -s --benchmark-enable``: a minute, 0.8
GB. Everything runs in one process, in turns; medians of
processor time. *Warm* is one call after the other; for
*cold*, 96 MB of other memory are touched before each.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from drawn_galleries import draw_gallery
from patchrerank.fusion import Fusion
from patchrerank.kernels import patch_max
from patchrerank.rerankers import Patchify

IMAGES, PATCHES, DIM, ROUNDS = 50_000, 30, 256, 101
LIMITS = {  # K: warm, cold
    100: (2.5, 1.8),
    400: (1.8, 1.4),
    1000: (1.5, 1.3),
}
ARRAYS = 1.2
"""At K = 1000, warm."""


@pytest.fixture(scope="module")
def reranker(tmp_path_factory):
    ids = [f"photos/{number // 1000:05d}/{number:09d}.jpg" for number in range(IMAGES)]
    gallery = draw_gallery(tmp_path_factory.mktemp("big") / "g", ids, PATCHES, DIM)
    return Patchify(gallery, fusion=Fusion(0.3, 4.0))


@pytest.fixture(scope="module")
def queries():
    drawn = np.random.default_rng(1).standard_normal((32, DIM)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def asked(gallery, count, seed=0):
    """Rows, ids and scores as a store hands them over: lists of Python objects."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(gallery))[:count]
    scores = (-np.sort(-rng.uniform(0, 1, count))).tolist()
    return rows, gallery.ids.at(rows), scores


def medians(calls, *, cold, rounds=ROUNDS):
    """Milliseconds of each call, called in turns, the order changing from round to round."""
    other = np.zeros(96 * 2**20 // 8)
    spent = [[] for _ in calls]
    for number in range(rounds + 2):
        for place in sorted(range(len(calls)), reverse=bool(number % 2)):
            if cold:
                other += 1
            begun = time.process_time()
            calls[place]()
            if number >= 2:
                spent[place].append(time.process_time() - begun)
    return [1000 * float(np.median(times)) for times in spent]


@pytest.mark.slow
@pytest.mark.parametrize("count", LIMITS)
def test_a_request_is_mostly_kernel(reranker, queries, count):
    gallery, query = reranker.gallery, queries[0]
    rows, ids, scores = asked(gallery, count)
    table, given = rows[None], np.asarray(scores, dtype=np.float32)[None]
    calls = [
        lambda: patch_max(query[None], gallery.patch_store, gallery.patch_ends, table),
        lambda: reranker.rank(query, ids, scores, top_k=10),
        lambda: reranker.rank_arrays(query[None], rows=table, scores=given),
    ]
    for cold, limit in zip((False, True), LIMITS[count], strict=True):
        kernel, rank, arrays = medians(calls, cold=cold)
        print(
            f"\nK={count} {'cold' if cold else 'warm'}: kernel {kernel:.2f} ms, rank "
            f"{rank:.2f} = {rank / kernel:.2f}×, rank_arrays {arrays:.2f} = {arrays / kernel:.2f}×"
        )
        assert rank < limit * kernel
        assert count < 1000 or cold or arrays < ARRAYS * kernel


@pytest.mark.slow
def test_a_batch_is_mostly_kernel(reranker, queries):
    gallery = reranker.gallery
    lists = [asked(gallery, 400, seed) for seed in range(len(queries))]
    rows = np.stack([item[0] for item in lists])
    ids, scores = [item[1] for item in lists], [item[2] for item in lists]
    calls = [
        lambda: patch_max(queries, gallery.patch_store, gallery.patch_ends, rows),
        lambda: reranker.rank_batch(list(queries), ids, scores, top_k=10),
    ]
    kernel, batch = medians(calls, cold=False, rounds=21)
    print(f"\n32 queries: kernel {kernel:.1f} ms, rank_batch {batch:.1f} = {batch / kernel:.2f}×")
    assert batch < 1.3 * kernel
