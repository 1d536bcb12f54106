"""Requests whose candidates lie on a disk: asked for ahead, and read as it comes; and warm ones.

``pytest tests/benchmarks/test_cold_benchmark.py -m slow -s``: a minute, 0.3 GB. The files
are dropped from memory before each cold request, of other candidates each time.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import pytest

from drawn_galleries import draw_gallery
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery
from patchrerank.gallery.rows_ahead import blocks_read
from patchrerank.rerankers import Patchify

IMAGES, PATCHES, DIM, COUNT, ROUNDS = 20_000, 30, 256, 400, 7
DEARER = 1.02
"""Of a warm request, for seeing whether it read from a disk."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    ids = [f"{number:09d}.jpg" for number in range(IMAGES)]
    return draw_gallery(tmp_path_factory.mktemp("cold") / "g", ids, PATCHES, DIM).folder


def drop(folder):
    for path in folder.glob("*.bin"):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def request(folder, rng):
    """Return a call that reranks candidates of a gallery that is opened anew, and its gallery."""
    gallery = Gallery(folder)
    query = rng.standard_normal((1, DIM)).astype(np.float32)
    query /= np.linalg.norm(query)
    rows = rng.choice(IMAGES, COUNT, replace=False)[None]
    scores = -np.sort(-rng.uniform(0, 1, (1, COUNT)).astype(np.float32))
    reranker = Patchify(gallery, fusion=Fusion(0.3, 4.0))
    _ = gallery.patch_requests, gallery.rows_ahead
    return gallery, lambda: reranker.rank_arrays(query, rows=rows, scores=scores)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_cold_requests(folder):
    rng, spent = np.random.default_rng(0), {True: [], False: []}
    request(folder, rng)[1]()  # compiles
    for _ in range(ROUNDS):
        for ahead, times in spent.items():
            drop(folder)
            gallery, call = request(folder, rng)
            gallery.rows_ahead.cold = ahead
            before, begun = blocks_read(), time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - begun))
            if blocks_read() == before:
                pytest.skip("what was dropped was not read from a disk")
    for ahead, times in spent.items():
        how = "asked for ahead" if ahead else "as it comes"
        low, high = min(times), max(times)
        print(f"cold, {how}: {np.median(times):.0f} ms ({low:.0f} to {high:.0f}), K = {COUNT}")
    assert np.median(spent[True]) < np.median(spent[False])


@pytest.mark.slow
def test_warm_requests_pay_nothing(folder):
    gallery, call = request(folder, np.random.default_rng(1))
    ahead, rows = gallery.rows_ahead, np.arange(COUNT)
    call()
    call()
    assert not ahead.cold

    def seconds(work, times):
        rounds = []
        for _ in range(9):
            begun = time.process_time()
            for _ in range(times):
                work()
            rounds.append((time.process_time() - begun) / times)
        return float(np.median(rounds))

    whole = seconds(call, 100)
    looking = seconds(lambda: ahead.end(ahead.begin(rows)), 2000)
    print(f"warm: {1000 * whole:.3f} ms, of it {1e6 * looking:.1f} µs to see whether it is")
    assert looking < (DEARER - 1) * whole
