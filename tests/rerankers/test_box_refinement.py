from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_twins import (
    FakeGallery,
    make_local,
    make_queries,
    make_shortlist,
    map_twin,
    one,
    patch_mean_twin,
)
from patchrerank.errors import GalleryError, QueryError, SettingError
from patchrerank.first_stage import GlobalSearch
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, encode_queries
from patchrerank.kernels.peaks import peak_regions
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import Patchify, RefineBoxes
from patchrerank.rerankers.base import Reranker
from patchrerank.rerankers.box_refinement import best_slots, patch_mean_boxes
from patchrerank.types import LocalScores, Queries, Shortlist

COUNTS = [39, 0, 12, 1, 39, 5, 20, 39, 2, 33]


class Told(Reranker):
    """Scores and boxes by gallery row."""

    name = "told"

    def __init__(self, gallery, scores, boxes):
        super().__init__(gallery)
        self.scores, self.boxes = scores, boxes

    def score(self, queries, shortlist):
        held = shortlist.rows >= 0
        scores = np.where(held, self.scores[shortlist.rows], -np.inf).astype(np.float32)
        if self.boxes is None:
            return LocalScores(scores)
        boxes = np.where(held[..., None], self.boxes[shortlist.rows], np.nan)
        return LocalScores(scores, boxes.astype(np.float32))


def random_boxes(rng, count):
    corners = rng.random((count, 2, 2), dtype=np.float32)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def setting(queries=(9, 1, 14), kind="float16"):
    rng = np.random.default_rng(4)
    gallery = FakeGallery(make_local(rng, COUNTS, kind=kind))
    gallery.encoder = None
    boxes = random_boxes(rng, len(COUNTS))
    boxes[6] = np.nan
    told = Told(gallery, rng.random(len(COUNTS)), boxes)
    return told, make_queries(rng, queries), make_shortlist(rng, len(queries), 9, 10)


@pytest.mark.parametrize("kind", ["float32", "binary"])
def test_from_local_descriptors_equals_the_slow_twin(kind):
    told, queries, shortlist = setting(kind=kind)
    found = RefineBoxes(told).score(queries, shortlist)
    before = told.score(queries, shortlist)
    assert np.array_equal(found.scores, before.scores)
    changed = 0
    for (number, slot), image in np.ndenumerate(shortlist.rows):
        expected = before.boxes[number, slot]
        if image >= 0 and COUNTS[image]:
            values = map_twin(queries.local[number], told.gallery.local, image)
            box = peak_regions(values[None], expected[None])[0]
            expected = expected if np.isnan(box).any() else box
            changed += 1
        np.testing.assert_allclose(found.boxes[number, slot], expected, atol=1e-4)
    assert changed > 15


def test_neither_batches_nor_input_change():
    told, queries, shortlist = setting()
    together = RefineBoxes(told, top=4).score(queries, shortlist)
    again = RefineBoxes(told, top=4).score(queries, shortlist)
    assert np.array_equal(again.boxes, together.boxes, equal_nan=True)
    for number in range(len(queries)):
        alone = RefineBoxes(told, top=4).score(*one(queries, shortlist, number))
        assert np.array_equal(alone.boxes[0], together.boxes[number], equal_nan=True)


def test_only_the_best_are_refined():
    told, queries, shortlist = setting()
    before, every = told.score(queries, shortlist), RefineBoxes(told).score(queries, shortlist)
    for top in (0, 1, 3, 100):
        found = RefineBoxes(told, top=top).score(queries, shortlist)
        for number in range(len(queries)):
            chosen = set(best_slots(before.scores[number], top).tolist())
            assert len(chosen) == min(top, np.isfinite(before.scores[number]).sum())
            for slot in range(9):
                source = every if slot in chosen else before
                wanted = source.boxes[number, slot]
                assert np.array_equal(found.boxes[number, slot], wanted, equal_nan=True)
    assert best_slots(np.array([0.5, 0.9, -np.inf, 0.9], np.float32), 2).tolist() == [1, 3]


def test_a_reranker_without_boxes_gets_some():
    told, queries, shortlist = setting(queries=(5, 0, 3))
    told.boxes = None
    found = RefineBoxes(told).score(queries, shortlist)
    described = (shortlist.rows >= 0) & (np.array([*COUNTS, 0])[shortlist.rows] > 0)
    described[1] = False
    assert np.array_equal(~np.isnan(found.boxes).any(axis=-1), described)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(2, 1000))
def test_patch_means_equal_the_slow_twin(seed, levels):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9, 6)
    boxes = random_boxes(rng, counts.sum())
    similarities = (rng.integers(0, levels, counts.sum()) / levels).astype(np.float32)
    anchors = random_boxes(rng, 6)
    anchors[0] = np.nan
    found = patch_mean_boxes(similarities, boxes, counts, anchors)
    ends = np.cumsum(counts)
    for number, (end, count) in enumerate(zip(ends, counts, strict=True)):
        own = slice(end - count, end)
        expected = patch_mean_twin(
            similarities[own].astype(float), boxes[own].astype(float), anchors[number]
        )
        np.testing.assert_allclose(found[number], expected, atol=1e-6)
        alone = patch_mean_boxes(
            similarities[own], boxes[own], counts[number : number + 1], anchors[number][None]
        )
        assert np.array_equal(alone[0], found[number], equal_nan=True)
    assert patch_mean_boxes(similarities[:0], boxes[:0], counts[:0], anchors[:0]).shape == (0, 4)


def test_from_patches_behind_patchify(tiny_gallery, tiny_encoder, photo_folder):
    files = [photo_folder / tiny_gallery.ids[row] for row in range(4)]
    queries = encode_queries(tiny_encoder, files)
    shortlist = GlobalSearch(tiny_gallery).search(queries)
    patchify = Patchify(tiny_gallery, tiny_encoder, Fusion(0.2, 3.0, 20))
    refining = RefineBoxes(patchify)
    ranking, before = refining.rerank(queries, shortlist), patchify.rerank(queries, shortlist)
    assert np.array_equal(ranking.rows, before.rows)
    assert np.array_equal(ranking.scores, before.scores)
    assert "refined" in ranking.settings[0]
    for (number, slot), image in np.ndenumerate(ranking.rows[:, :20]):
        own = slice(14 * image, 14 * image + 14)
        similarities = tiny_gallery.patches[own] @ queries.vectors[number]
        boxes = np.asarray(tiny_gallery.boxes[own], dtype=float)
        expected = patch_mean_twin(similarities, boxes, before.boxes[number, slot])
        np.testing.assert_allclose(ranking.boxes[number, slot], expected, atol=1e-4)
    assert np.isnan(ranking.boxes[:, 20:]).all()
    hits = refining.rank(files[0], list(tiny_gallery.ids[:6]))
    assert [hit.score for hit in hits] == [
        hit.score for hit in patchify.rank(files[0], list(tiny_gallery.ids[:6]))
    ]
    assert refining.rank(files[0], []) == []
    cascade = Cascade([Stage(patchify, Fusion()), Stage(refining, Fusion(shortlist_size=5))])
    assert cascade.rerank(queries, shortlist).boxes.shape == (*shortlist.rows.shape, 4)


def test_a_gallery_of_whole_images_keeps_its_boxes(tmp_path, photo_folder, tiny_encoder, quiet):
    from patchrerank.gallery import build_gallery
    from patchrerank.regions import GridPyramid

    gallery = build_gallery(tmp_path / "g", photo_folder, tiny_encoder, GridPyramid(0), quiet)
    hits = RefineBoxes(Patchify(gallery, tiny_encoder)).rank(
        photo_folder / gallery.ids[0], list(gallery.ids[:3])
    )
    assert [hit.box for hit in hits] == [(0.0, 0.0, 1.0, 1.0)] * 3


def test_errors(tmp_path, tiny_gallery):
    told, queries, shortlist = setting()
    with pytest.raises(SettingError, match="top"):
        RefineBoxes(told, top=-1)
    with pytest.raises(SettingError, match="evidence"):
        RefineBoxes(told, evidence="both")
    with pytest.raises(QueryError, match=r"told \(refined boxes\).*no local descriptors"):
        RefineBoxes(told, evidence="local").score(Queries(queries.vectors), shortlist)
    vectors = np.eye(16, dtype=np.float32)[:1]
    single = Shortlist(np.zeros((1, 1), np.int64), np.ones((1, 1), np.float32))
    local = make_queries(np.random.default_rng(0), (3,)).local
    with pytest.raises(GalleryError, match="no local descriptors"):
        RefineBoxes(Patchify(tiny_gallery), evidence="local").score(Queries(vectors), single)
    with pytest.raises(QueryError, match="dimensions"):
        RefineBoxes(told).score(make_queries(np.random.default_rng(0), (3,) * 3, 5), shortlist)
    half = tmp_path / "half"
    shutil.copytree(tiny_gallery.folder, half)
    (half / "local").mkdir()
    with pytest.raises(GalleryError):
        RefineBoxes(Patchify(Gallery(half))).score(Queries(vectors, local=local), single)
