"""A whole data set in each store: the results of its gallery, there and here.

``PATCHRERANK_DATASET`` names its folder, ``PATCHRERANK_GALLERY`` its gallery of float32 patches::

    pytest -m slow -s tests/integrations/stores/test_whole.py
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np
import pytest
from tests.helpers.opened_stores import STORES

from patchrerank import Gallery
from patchrerank.analysis.relevance import relevance_of
from patchrerank.datasets import load_dataset
from patchrerank.first_stage import GlobalSearch
from patchrerank.fusion import Fusion
from patchrerank.gallery import CompressOptions, compress, encode_queries, load_own_encoder
from patchrerank.integrations.stores.reranking import StorePatchify, StoreReranker
from patchrerank.metrics import mean_average_precision
from patchrerank.rerankers import Patchify

DATASET, GALLERY = map(os.environ.get, ("PATCHRERANK_DATASET", "PATCHRERANK_GALLERY"))
SIZE, TOP, DIM = 400, 10, 256

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (DATASET and GALLERY), reason="needs a data set and its gallery"),
]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whitened") / "gallery"
    how = CompressOptions(store="float32", whiten=DIM, progress=False)
    compress(Gallery(GALLERY), folder, how)
    return Gallery(folder)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DATASET)


@pytest.fixture(scope="module")
def queries(gallery, dataset):
    pictures = [query.file for query in dataset.queries]
    return encode_queries(load_own_encoder(gallery), pictures, whitening=gallery.whitening)


@pytest.fixture(scope="module")
def expected(gallery, queries):
    return Patchify(gallery).rerank(queries, GlobalSearch(gallery).search(queries, SIZE))


def precision_of(ranking, gallery, dataset):
    found = relevance_of(ranking, gallery, dataset)
    return mean_average_precision(list(found.relevant), found.n_positives.tolist())


@pytest.mark.parametrize("name", STORES)
def test_the_same_results(gallery, dataset, queries, expected, name, tmp_path):
    with STORES[name](tmp_path) as store:
        began = time.perf_counter()
        assert store.push(gallery, progress=False).written == len(gallery)
        print(f"{name}: pushed in {time.perf_counter() - began:.0f} s")
        first = store.search(queries, SIZE)
        rankers = {"here": StoreReranker(store, make=Patchify)}
        if store.scores_there:
            rankers["there"] = StorePatchify(store, fusion=Fusion(), boxed=TOP)
        for way, ranker in rankers.items():
            began = time.perf_counter()
            found = ranker.rerank(queries, first)
            spent = 1000 * (time.perf_counter() - began) / len(queries)
            rows = [gallery.rows_of(store.gallery.ids.at(row[row >= 0])) for row in found.rows]
            found = replace(found, rows=np.array(rows))
            precision = precision_of(found, gallery, dataset)
            print(f"{name}, {way}: mAP {precision:.4f}, {spent:.0f} ms a query")
            assert precision == pytest.approx(precision_of(expected, gallery, dataset), abs=1e-4)
            compare(found, expected)


def compare(found, expected):
    """The first ten: the same images, but for equal scores; scores to 1e-5; boxes."""
    np.testing.assert_allclose(
        found.local_scores[:, :TOP], expected.local_scores[:, :TOP], atol=1e-5
    )
    for query in range(len(found)):
        known = dict(zip(expected.rows[query], range(SIZE), strict=True))
        for place, row in enumerate(found.rows[query, :TOP].tolist()):
            twin = known[row]
            gap = found.local_scores[query, place] - expected.local_scores[query, twin]
            assert abs(gap) < 1e-5
            assert (
                twin == place
                or abs(expected.local_scores[query, place] - expected.local_scores[query, twin])
                < 1e-5
            )
            np.testing.assert_allclose(
                found.boxes[query, place], expected.boxes[query, twin], atol=1e-6
            )
