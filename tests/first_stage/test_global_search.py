from __future__ import annotations

import numpy as np
import pytest

from patchrerank.errors import QueryError, SettingError
from patchrerank.first_stage import GlobalSearch
from patchrerank.types import Queries


def test_flat_search_is_exact(tiny_gallery):
    vectors = np.asarray(tiny_gallery.global_vectors)
    queries = Queries(vectors[[3, 20]])
    found = GlobalSearch(tiny_gallery).search(queries)
    expected = vectors[[3, 20]] @ vectors.T
    order = np.argsort(-expected, axis=1, kind="stable")
    assert np.array_equal(found.rows[:, 0], [3, 20])
    assert np.allclose(found.scores, np.take_along_axis(expected, order, 1), atol=1e-5)
    assert GlobalSearch(tiny_gallery).search(queries, 7).rows.shape == (2, 7)
    assert GlobalSearch(tiny_gallery).search(queries, 0).rows.shape == (2, 0)
    assert GlobalSearch(tiny_gallery).search(Queries(np.zeros((0, 16)))).rows.shape == (0, 40)


def test_other_indexes(tiny_gallery):
    queries = Queries(np.asarray(tiny_gallery.global_vectors)[:2])
    assert GlobalSearch(tiny_gallery, "HNSW16").search(queries, 5).rows[0, 0] == 0
    few = GlobalSearch(tiny_gallery, "IVF8,Flat").search(queries)
    assert (few.rows[:, -1] == -1).all(), "one list of eight does not hold all images"
    with pytest.raises(SettingError, match="Flta"):
        GlobalSearch(tiny_gallery, "Flta")


def test_queries_are_checked(tiny_gallery):
    with pytest.raises(QueryError, match="3 dimensions"):
        GlobalSearch(tiny_gallery).search(Queries(np.ones((1, 3))))
    with pytest.raises(QueryError, match="encoded by another encoder"):
        GlobalSearch(tiny_gallery).search(Queries(np.ones((1, 16)), encoder="someone"))
    with pytest.raises(SettingError, match="-1"):
        GlobalSearch(tiny_gallery).search(Queries(np.ones((1, 16))), -1)
