from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from local_twins import (
    KINDS,
    FakeGallery,
    chamfer_twin,
    make_local,
    make_queries,
    make_shortlist,
    map_twin,
    one,
)
from patchrerank.errors import QueryError
from patchrerank.kernels.peaks import peak_regions
from patchrerank.rerankers import DenseCorrelation, _local
from patchrerank.types import Queries, Shortlist

COUNTS = [39, 0, 12, 1, 39, 5, 20, 39, 2, 33]


def setting(kind="float32", queries=(9, 1, 14), **how):
    rng = np.random.default_rng(1)
    local = make_local(rng, COUNTS, kind=kind, **how)
    return FakeGallery(local), make_queries(rng, queries), make_shortlist(rng, len(queries), 9, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_boxes_equal_the_slow_twin(kind):
    gallery, queries, shortlist = setting(kind)
    found = DenseCorrelation(gallery).score(queries, shortlist)
    for (number, slot), image in np.ndenumerate(shortlist.rows):
        query = queries.local[number]
        score, _ = chamfer_twin(query, gallery.local, image)
        assert found.scores[number, slot] == pytest.approx(score, abs=1e-5)
        if np.isfinite(score):
            box = peak_regions(map_twin(query, gallery.local, image)[None])[0]
            np.testing.assert_allclose(found.boxes[number, slot], box, atol=1e-4)
        else:
            assert np.isnan(found.boxes[number, slot]).all()


@pytest.mark.parametrize("kind", ["float16", "binary"])
def test_neither_batches_nor_blocks_nor_threads_matter(monkeypatch, kind):
    gallery, queries, shortlist = setting(kind)
    together = DenseCorrelation(gallery).score(queries, shortlist)
    monkeypatch.setattr(_local, "BLOCK_BYTES", 5000)
    again = DenseCorrelation(gallery, threads=2).score(queries, shortlist)
    assert np.array_equal(again.scores, together.scores)
    assert np.array_equal(again.boxes, together.boxes, equal_nan=True)
    for number in range(len(queries)):
        alone = DenseCorrelation(gallery).score(*one(queries, shortlist, number))
        assert np.array_equal(alone.scores[0], together.scores[number])
        assert np.array_equal(alone.boxes[0], together.boxes[number], equal_nan=True)


def test_the_box_is_where_the_query_lies():
    """A candidate with the query's mean descriptor in nine cells, noise elsewhere."""
    rng = np.random.default_rng(2)
    local = make_local(rng, [144], grids=((12, 12),), dim=32)
    x, y = local.positions.T * 12
    inside = np.flatnonzero((x > 3) & (x < 6) & (y > 7) & (y < 10))
    vectors = local.store.data * 0.1
    queries = make_queries(rng, (len(inside),), dim=32)
    planted = queries.local[0]
    common = planted.vectors.mean(axis=0)
    vectors[inside] = common / np.linalg.norm(common)
    local.store = type(local.store)(vectors)
    single = Shortlist(np.zeros((1, 1), np.int64), np.ones((1, 1), np.float32))
    found = DenseCorrelation(FakeGallery(local)).score(queries, single)
    np.testing.assert_allclose(found.boxes[0, 0], [3 / 12, 7 / 12, 6 / 12, 10 / 12], atol=0.5 / 12)


@pytest.mark.parametrize("shift", [(-0.484375, 0.484375), (0.484375, -0.484375), (-0.55, -0.125)])
def test_cells_that_look_elsewhere_move_the_boxes_and_nothing_else(shift):
    gallery, queries, shortlist = setting(grids=((7, 6),))
    local = gallery.local
    even = DenseCorrelation(gallery).score(queries, shortlist)
    moved = replace(local, shift=shift)
    sizes = np.array(local.grids)[local.scales][:, ::-1]
    places = (local.positions + np.array(shift)[::-1] / sizes).clip(0, 1).astype(np.float32)
    moved.positions = places
    found = DenseCorrelation(FakeGallery(moved)).score(queries, shortlist)
    np.testing.assert_array_equal(found.scores, even.scores)
    height, width = max(local.grids)
    by = np.array([shift[1] / width, shift[0] / height] * 2)
    inner = (even.boxes > 0) & (even.boxes < 1)
    expected = np.where(inner, (even.boxes + by).clip(0, 1), even.boxes)
    np.testing.assert_allclose(found.boxes, expected, atol=1e-5, equal_nan=True)


def test_nothing_to_compare():
    gallery, queries, shortlist = setting(queries=(0, 4))
    found = DenseCorrelation(gallery).score(queries, shortlist)
    assert (found.scores[0] == -np.inf).all()
    assert np.isnan(found.boxes[0]).all()
    empty = (shortlist.rows[1] == 1) | (shortlist.rows[1] == -1)
    assert (found.scores[1, empty] == -np.inf).all()
    assert np.isnan(found.boxes[1, empty]).all()
    assert not np.isnan(found.boxes[1, ~empty]).any()
    none = Shortlist(np.zeros((2, 0), np.int64), np.zeros((2, 0), np.float32))
    assert DenseCorrelation(gallery).score(queries, none).boxes.shape == (2, 0, 4)
    single = Shortlist(np.array([[4], [-1]]), np.ones((2, 1), np.float32))
    assert np.isnan(DenseCorrelation(gallery).score(queries, single).boxes[1]).all()


def test_without_a_box_the_descriptors_are_used_as_they_come():
    gallery, queries, shortlist = setting()
    boxed = replace(queries, boxes=np.tile([0.1, 0.1, 0.2, 0.2], (3, 1)).astype(np.float32))
    unknown = replace(queries, boxes=np.full((3, 4), np.nan, np.float32))
    scores = [DenseCorrelation(gallery).score(q, shortlist).scores for q in (queries, unknown)]
    assert np.array_equal(*scores)
    assert np.array_equal(DenseCorrelation(gallery).score(boxed, shortlist).scores, scores[0])


def test_descriptors_of_an_unknown_map():
    gallery, queries, shortlist = setting()
    gallery.local.grids = ()
    found = DenseCorrelation(gallery).score(queries, shortlist)
    known = np.isfinite(found.scores)
    assert (found.boxes[known, 2:] > found.boxes[known, :2]).all()


def test_errors():
    gallery, queries, shortlist = setting()
    with pytest.raises(QueryError, match=r"dense_correlation.*encode_local_queries"):
        DenseCorrelation(gallery).score(Queries(queries.vectors), shortlist)
    with pytest.raises(QueryError, match="dimensions"):
        DenseCorrelation(gallery).score(
            make_queries(np.random.default_rng(0), (2, 2, 2), 5), shortlist
        )
