"""A gallery of shards beside one folder of the same images, and 1,000 tiny ones.

``pytest tests/benchmarks/test_shards_benchmark.py -m slow -s --benchmark-enable``: minutes, 2 GB.
The first compares in one process, in turns, medians of processor time. Memory is what a process
holds at the end, one for each: its own; pages of mapped files are printed, and depend on what of
them the system had in its cache.
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from drawn_galleries import draw_gallery
from patchrerank.first_stage import PatchSearch, build_patch_index
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, merge
from patchrerank.rerankers import Patchify

SHARDS, IMAGES, PATCHES, DIM = 64, 1042, 30, 256  # 2,000,640 patch vectors
FACTORY = "IVF64,PQ16"
LIMIT = 1.1

ALONE = """
import sys, time
import numpy as np
from patchrerank.first_stage import PatchSearch
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery
from patchrerank.rerankers import Patchify

begun = time.process_time()
gallery = Gallery(sys.argv[1])
opened = time.process_time() - begun
query = np.load(sys.argv[3])
search = PatchSearch(gallery, sys.argv[2], nprobe=16)
reranker = Patchify(gallery, fusion=Fusion(0.3, 4.0))
from patchrerank.types import Queries
found = search.search(Queries(query), 1000)
for rows in found.shortlist.rows:
    rows = rows[rows >= 0]
    reranker.rank(query[0], gallery.ids.at(rows), top_k=10)
held = dict(line.split(":") for line in open("/proc/self/status"))
print(1000 * opened, *(int(held[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile")))
"""


def unit(count, seed):
    drawn = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """64 shards, the gallery of them, one folder of them, and an index over their patches."""
    folder = tmp_path_factory.mktemp("shards")
    parts = []
    for number in range(SHARDS):
        ids = [f"photos/{number:02d}/{image:06d}.jpg" for image in range(IMAGES)]
        parts.append(draw_gallery(folder / f"{number:02d}", ids, PATCHES, DIM, seed=number).folder)
    joined = merge(folder / "all", parts)
    one = merge(folder / "one", parts, copy=True, progress=False)
    build_patch_index(one, folder / "index", FACTORY, train=unit(10_000, 0), progress=False)
    np.save(folder / "query.npy", unit(8, 1))
    return joined, one, folder


def medians(calls, rounds):
    """Milliseconds of each call, called in turns, the order changing from round to round."""
    spent = [[] for _ in calls]
    for number in range(rounds + 2):
        for place in sorted(range(len(calls)), reverse=bool(number % 2)):
            begun = time.process_time()
            calls[place]()
            if number >= 2:
                spent[place].append(time.process_time() - begun)
    return [1000 * float(np.median(times)) for times in spent]


def compared(what, calls, rounds=31, limit=LIMIT):
    shards, one = medians(calls, rounds)
    print(f"\n{what}: shards {shards:.2f} ms, one folder {one:.2f} ms = {shards / one:.3f}×")
    assert shards < limit * one


@pytest.mark.slow
def test_two_million_vectors_in_shards_cost_what_they_cost_in_one_folder(made):
    galleries, folder = made[:2], made[2]
    query = unit(1, 2)
    rankers = [Patchify(gallery, fusion=Fusion(0.3, 4.0)) for gallery in galleries]
    for count in (100, 1000):
        rows = np.random.default_rng(count).permutation(SHARDS * IMAGES)[:count]
        ids = galleries[1].ids.at(rows)
        scores = (-np.sort(-np.random.default_rng(0).uniform(0, 1, count))).tolist()
        answers = [ranker.rank(query[0], ids, scores, top_k=10) for ranker in rankers]
        assert answers[0] == answers[1]
        calls = [
            lambda r=ranker, i=ids, s=scores: r.rank(query[0], i, s, top_k=10) for ranker in rankers
        ]
        compared(f"rank, K={count}", calls, 101)
        table = rows[None]
        calls = [lambda r=ranker, t=table: r.rank_arrays(query, rows=t) for ranker in rankers]
        compared(f"rank_arrays, K={count}", calls, 101)
    searches = [PatchSearch(gallery, folder / "index", nprobe=16) for gallery in galleries]
    from patchrerank.types import Queries

    queries = Queries(unit(8, 3))
    compared(f"search of {FACTORY}", [lambda s=s: s.search(queries, 100) for s in searches], 11)


@pytest.mark.slow
def test_memory_of_a_process_that_opens_searches_and_reranks(made):
    joined, one, folder = made
    held = []
    for gallery in (one, joined):
        words = [gallery.folder, folder / "index", folder / "query.npy"]
        done = subprocess.run(
            [sys.executable, "-c", ALONE, *map(str, words)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        opened, own, mapped = map(float, done.stdout.split())
        held.append(own)
        name = gallery.folder.name
        print(f"\n{name}: opened in {opened:.1f} ms, {own:.0f} MB of its own, {mapped:.0f} mapped")
    assert held[1] < LIMIT * held[0]


@pytest.mark.slow
def test_a_thousand_tiny_shards(tmp_path):
    parts = []
    for number in range(1000):
        ids = [f"{number}/{image}.jpg" for image in range(20)]
        parts.append(draw_gallery(tmp_path / f"{number:04d}", ids, PATCHES, 16, seed=number).folder)
    begun = time.process_time()
    merge(tmp_path / "all", parts)
    print(f"\nmerged in {time.process_time() - begun:.1f} s")
    Gallery(tmp_path / "all")
    opening = medians([lambda: Gallery(tmp_path / "all")], 11)[0]
    gallery = Gallery(tmp_path / "all")
    ranker, query = Patchify(gallery), np.eye(16, dtype=np.float32)[0]
    ids = [f"{number}/{number % 20}.jpg" for number in range(1000)]
    begun = time.process_time()
    ranker.rank(query, ids[:50], top_k=10)
    few = 1000 * (time.process_time() - begun)
    begun = time.process_time()
    ranker.rank(query, ids, top_k=10)
    first = 1000 * (time.process_time() - begun)
    later = medians([lambda: ranker.rank(query, ids, top_k=10)], 31)[0]
    print(
        f"1,000 shards opened in {opening:.1f} ms; the first request touches 50 of them in "
        f"{few:.0f} ms, the next all in {first:.0f} ms, later ones take {later:.2f} ms"
    )
    assert opening < 20 and later < 10
