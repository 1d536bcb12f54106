"""Shared: random score tables, and a data set over the tiny gallery with rerankers on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patchrerank.datasets import Dataset, DatasetImage, DatasetQuery
from patchrerank.first_stage import GlobalSearch
from patchrerank.rerankers import Patchify, QueryExpansion
from patchrerank.tuning.tables.pair_scorer import PairScorer
from patchrerank.types import Queries
from synthetic import TableReranker, unit_rows

INSTANCES = 4
QUERIES = 10


@pytest.fixture(scope="session")
def small_dataset(tiny_gallery) -> Dataset:
    """40 pictures: 4 objects with 5 pictures each, 20 distractors; 10 queries."""
    rng = np.random.default_rng(11)
    images = []
    for row, name in enumerate(tiny_gallery.ids):
        shown = row % INSTANCES if row < 5 * INSTANCES else None
        low, size = rng.random((2, 2)) * 0.5
        box = np.array([[*low, *(low + 0.1 + 0.8 * size)]], np.float32)
        boxes = np.zeros((0, 4), np.float32) if shown is None else box
        area = None if shown is None else float(np.prod(box[0, 2:] - box[0, :2]))
        images.append(DatasetImage(name, Path(name), shown, boxes, area))
    queries = [DatasetQuery(f"q{n}", Path("q"), n % (INSTANCES + 1)) for n in range(QUERIES)]
    return Dataset(Path("small"), tuple(queries), tuple(images))


@pytest.fixture(scope="session")
def small_queries() -> Queries:
    return Queries(unit_rows(np.random.default_rng(5), QUERIES, 16))


@pytest.fixture(scope="session")
def small_shortlist(tiny_gallery, small_queries):
    return GlobalSearch(tiny_gallery).search(small_queries, 30)


@pytest.fixture(scope="session")
def small_rerankers(tiny_gallery):
    rng = np.random.default_rng(8)
    return {
        "patchify": Patchify(tiny_gallery),
        "table": TableReranker(tiny_gallery, rng.standard_normal(40)),
        "plain": TableReranker(tiny_gallery, rng.standard_normal(40), localises=False),
        "query-expansion": QueryExpansion(tiny_gallery),
    }


@pytest.fixture(scope="session")
def scorer(small_dataset, tiny_gallery, small_rerankers, small_queries) -> PairScorer:
    return PairScorer(small_dataset, tiny_gallery, small_rerankers, small_queries)
