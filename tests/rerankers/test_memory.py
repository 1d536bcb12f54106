"""Rerankers over local descriptors hold blocks of a shortlist, never all of it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from local_twins import FakeGallery, FakeLocal, make_store, unit
from patchrerank.kernels.rows import BLOCK_BYTES
from patchrerank.rerankers import Chamfer, DenseCorrelation
from patchrerank.types import LocalDescriptors, Queries, Shortlist

IMAGES, EACH, DIM = 400, 196, 256


@pytest.fixture(scope="module")
def gallery():
    rng = np.random.default_rng(0)
    y, x = np.divmod(np.arange(EACH), 14)
    centres = np.stack([(x + 0.5) / 14, (y + 0.5) / 14], axis=1).astype(np.float32)
    return FakeGallery(
        FakeLocal(
            make_store("float16", unit(rng, IMAGES * EACH, DIM)),
            np.arange(1, IMAGES + 1) * EACH,
            np.tile(centres, (IMAGES, 1)),
            np.zeros(IMAGES * EACH, dtype=np.int16),
            ((14, 14),),
        )
    )


@pytest.mark.parametrize("kind", [Chamfer, DenseCorrelation])
def test_the_peak_is_below_a_block_and_the_maps(gallery, kind):
    rng = np.random.default_rng(1)
    points = rng.random((20, 2)).astype(np.float32)
    local = LocalDescriptors(
        unit(rng, 20, DIM), points, np.zeros(20, np.int16), np.ones(20, np.float32)
    )
    queries = Queries(unit(rng, 2, 8), local=[local, local])
    shortlist = Shortlist(np.tile(np.arange(IMAGES), (2, 1)), np.zeros((2, IMAGES)))
    reranker = kind(gallery)
    reranker.score(queries.take([0]), Shortlist(shortlist.rows[:1, :2], shortlist.scores[:1, :2]))
    tracemalloc.start()
    reranker.score(queries, shortlist)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    maps = 8 * 4 * IMAGES * EACH
    assert peak < min(BLOCK_BYTES, 4 * IMAGES * EACH * DIM) + maps
    assert peak < IMAGES * EACH * DIM * 2 / 2
