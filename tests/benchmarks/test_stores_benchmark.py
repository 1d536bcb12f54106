"""One query behind a store: its own scoring, ours with the fetch, and a gallery's.

1,055 images of 30 patches, 256-d, K = 400; random unit vectors, since times do not depend on them::

    OMP_NUM_THREADS=1 pytest -m slow -s tests/benchmarks/test_stores_benchmark.py
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest
from tests.helpers.opened_stores import STORES

from patchrerank.gallery import import_gallery
from patchrerank.integrations.stores.reranking import StorePatchify, StoreReranker
from patchrerank.rerankers import Patchify
from patchrerank.types import Queries

IMAGES, PATCHES, DIM, SIZE, ROUNDS = 1055, 30, 256, 400, 5


def units(source, number):
    found = source.normal(size=(number, DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    source = np.random.default_rng(0)
    return import_gallery(
        tmp_path_factory.mktemp("made") / "gallery",
        np.arange(IMAGES),
        units(source, IMAGES),
        units(source, IMAGES * PATCHES),
        PATCHES,
        boxes=np.tile(np.array([0, 0, 1, 1], np.float32), (IMAGES * PATCHES, 1)),
        encoder="random",
        store="float32",
        progress=False,
    )


def spent(ranker, queries, shortlist):
    """Return the median and the spread of ROUNDS calls in milliseconds, after one to warm up."""
    times = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        ranker.rerank(queries, shortlist)
        times.append(1000 * (time.perf_counter() - began))
    kept = sorted(times[1:])
    return f"{statistics.median(kept):7.1f} ({kept[0]:.1f} to {kept[-1]:.1f})"


@pytest.mark.slow
@pytest.mark.parametrize("name", STORES)
def test_one_query(gallery, name, tmp_path):
    queries = Queries(units(np.random.default_rng(1), 1))
    with STORES[name](tmp_path) as store:
        store.push(gallery, progress=False)
        first = store.search(queries, SIZE)
        ids = [store.gallery.ids.at(first.rows[0])]
        own = Patchify(gallery)
        own.rank_arrays(queries.vectors, ids=ids)
        began = time.perf_counter()
        for _ in range(ROUNDS):
            own.rank_arrays(queries.vectors, ids=ids)
        ours = 1000 * (time.perf_counter() - began) / ROUNDS
        here = spent(StoreReranker(store), queries, first)
        there = "–"
        if store.scores_there:
            there = spent(StorePatchify(store), queries, first)
        print(f"{name}: there {there} ms, here {here} ms, gallery {ours:.1f} ms")
