"""Queries in views beside the query as it is: what its backgrounds cost.

``pytest tests/benchmarks/test_query_views_benchmark.py -m slow -s --benchmark-enable``: a minute.
EfficientNet-Lite0 at 224 px (its weights are not needed for times), product pictures of 384 px,
100 candidates, each query with 0, 2, 4 and 8 backgrounds in turn, on one thread and on all cores.
Ratios are medians over queries; on one thread of processor time, so that others do not count.
"""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
import torch

from patchrerank.encoders import load_encoder
from patchrerank.gallery import BuildOptions, build_gallery
from patchrerank.pipeline import load_reranker
from patchrerank.regions import GridPyramid
from patchrerank.types import QueryViews
from product_photos import product, scene

COUNTS = (None, 0, 2, 4, 8)
IMAGES, QUERIES, SIDE, MOST = 8, 25, 384, 5.0


@pytest.fixture(params=[1, os.cpu_count() or 1], ids=["one thread", "all cores"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.slow
def test_eight_backgrounds_take_at_most_five_times_one_query(threads, tmp_path):
    encoder = load_encoder("efficientnet_lite0", pretrained=False, image_size=224, device="cpu")
    pictures = [(f"p{number}", scene(number, 320, 240)) for number in range(IMAGES)]
    how = BuildOptions(progress=False)
    gallery = build_gallery(tmp_path / "g", pictures, encoder, GridPyramid(1), how)
    rankers = [
        load_reranker(
            gallery,
            "patchify",
            encoder=encoder,
            query_views=None if count is None else QueryViews(count),
        )
        for count in COUNTS
    ]
    for number in range(QUERIES):
        product(number, SIDE).save(tmp_path / f"{number}.png")
    ids = list(gallery.ids)
    wall, work = (np.empty((QUERIES, len(COUNTS))) for _ in range(2))
    for query in [0, *range(QUERIES)]:  # the first loads networks
        for place, ranker in enumerate(rankers):
            start, busy = time.perf_counter(), time.process_time()
            hits = ranker.rank(tmp_path / f"{query}.png", ids)
            wall[query, place] = time.perf_counter() - start
            work[query, place] = time.process_time() - busy
            assert hits[0].query_views == ("none" if COUNTS[place] is None else "plain")
    print(f"\n{encoder.backend.name}, {threads} threads")
    for name, spent in (("wall", wall), ("processor", work)):
        ratios = np.median(spent / spent[:, :1], axis=0)
        for count, ms, ratio in zip(COUNTS, 1000 * np.median(spent, axis=0), ratios, strict=True):
            print(f"{name}: {count} backgrounds {ms:.1f} ms, {ratio:.2f} times one query")
    counted = work if threads == 1 else wall
    assert np.median(counted[:, -1] / counted[:, 0]) <= MOST
