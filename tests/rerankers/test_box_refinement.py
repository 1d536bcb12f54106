from __future__ import annotations

import logging
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest

from local_twins import (
    FakeGallery,
    background_twin,
    drawn_twin,
    make_local,
    make_queries,
    make_shortlist,
    map_twin,
    one,
    patch_box_twin,
)
from patchrerank.errors import GalleryError, QueryError, SettingError
from patchrerank.first_stage import GlobalSearch
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, encode_queries
from patchrerank.kernels.peaks import peak_regions
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import Patchify, RefineBoxes
from patchrerank.rerankers.base import Reranker
from patchrerank.rerankers.box_refinement import best_slots
from patchrerank.types import LocalDescriptors, LocalScores, Queries, Shortlist

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


def filter_twin(query, local):
    """A query of the one descriptor that the candidates' are compared with."""
    mean, precision = background_twin(local.store.decode(np.arange(len(local.store))).astype(float))
    wanted = (precision @ (query.vectors.astype(float).mean(axis=0) - mean))[None]
    wanted /= np.linalg.norm(wanted)
    return LocalDescriptors(wanted, query.positions[:1], query.scales[:1], query.weights[:1])


@pytest.mark.parametrize("kind", ["float32", "binary"])
@pytest.mark.parametrize("aspects", [None, [2.0, np.nan, 0.4]])
def test_from_local_descriptors_equals_the_slow_twin(kind, aspects):
    told, queries, shortlist = setting(kind=kind)
    if aspects is not None:
        queries = replace(queries, aspects=np.array(aspects, dtype=np.float32))
    found = RefineBoxes(told, cut=0.45, aspect=0.3).score(queries, shortlist)
    before = told.score(queries, shortlist)
    assert np.array_equal(found.scores, before.scores)
    changed = 0
    for (number, slot), image in np.ndenumerate(shortlist.rows):
        expected = before.boxes[number, slot]
        if image >= 0 and COUNTS[image]:
            wanted = filter_twin(queries.local[number], told.gallery.local)
            values = map_twin(wanted, told.gallery.local, image, smooth=False)
            box = peak_regions(values[None], expected[None], cut=0.45)[0]
            expected = expected if np.isnan(box).any() else box
            size = told.gallery.sizes[image]
            if aspects is not None and not np.isnan([*box, aspects[number]]).any() and size.all():
                expected = drawn_twin(expected, size, aspects[number], 0.3)
            changed += 1
        np.testing.assert_allclose(found.boxes[number, slot], expected, atol=2e-4)
    assert changed > 15


def test_a_query_that_looks_like_everything_keeps_its_boxes():
    told, queries, shortlist = setting(queries=(1,))
    store = told.gallery.local.store
    mean = store.decode(np.arange(len(store))).astype(np.float64).mean(axis=0)
    refining = RefineBoxes(told)
    refining._background.mean[:] = queries.local[0].vectors[0]
    assert mean.shape == refining._background.mean.shape
    found, before = (made.score(queries, shortlist) for made in (refining, told))
    assert np.array_equal(found.boxes, before.boxes, equal_nan=True)


def test_what_was_learned_of_the_gallery_is_not_pickled():
    told, queries, shortlist = setting()
    refining = RefineBoxes(told)
    found = refining.score(queries, shortlist)
    assert "_background" in vars(refining)
    again = pickle.loads(pickle.dumps(refining))
    assert "_background" not in vars(again)
    assert np.array_equal(again.score(queries, shortlist).boxes, found.boxes, equal_nan=True)


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


def test_from_patches_behind_patchify(tiny_gallery, tiny_encoder, photo_folder, caplog):
    files = [photo_folder / tiny_gallery.ids[row] for row in range(4)]
    queries = encode_queries(tiny_encoder, files)
    shortlist = GlobalSearch(tiny_gallery).search(queries)
    patchify = Patchify(tiny_gallery, tiny_encoder, Fusion(0.2, 3.0, 20))
    with caplog.at_level(logging.WARNING):
        refining = RefineBoxes(patchify)
    assert "refined by patches, since" in caplog.text
    caplog.clear()
    RefineBoxes(patchify, evidence="patches")
    assert not caplog.text
    ranking, before = refining.rerank(queries, shortlist), patchify.rerank(queries, shortlist)
    assert np.array_equal(ranking.rows, before.rows)
    assert np.array_equal(ranking.scores, before.scores)
    assert "refined by patches" in ranking.settings[0]
    for (number, slot), image in np.ndenumerate(ranking.rows[:, :20]):
        own = slice(14 * image, 14 * image + 14)
        similarities = tiny_gallery.patches[own] @ queries.vectors[number]
        boxes = np.asarray(tiny_gallery.boxes[own], dtype=float)
        expected = patch_box_twin(similarities, boxes, before.boxes[number, slot], 0.5)
        np.testing.assert_allclose(ranking.boxes[number, slot], expected, atol=2e-4)
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


def test_pictures_give_aspect_ratios_and_boxes_follow(tiny_gallery, tiny_encoder, photo_folder):
    files = [photo_folder / tiny_gallery.ids[row] for row in range(3)]
    boxes = [[0.1, 0.2, 0.9, 0.4], None, [0.4, 0.0, 0.6, 1.0]]
    refining = RefineBoxes(Patchify(tiny_gallery, tiny_encoder), evidence="patches")
    queries = refining.encode(files, boxes)
    sizes = tiny_gallery.sizes[:3].astype(float)
    wanted = [0.8 * sizes[0, 0] / (0.2 * sizes[0, 1]), np.nan, 0.2 * sizes[2, 0] / sizes[2, 1]]
    np.testing.assert_allclose(queries.aspects, wanted, rtol=1e-4)
    shortlist = GlobalSearch(tiny_gallery).search(queries, 6)
    found = refining.score(queries, shortlist).boxes
    plain = replace(refining.complete(queries), aspects=None)
    before = refining.score(plain, shortlist).boxes
    assert np.array_equal(found[1], before[1])
    for number in (0, 2):
        for slot, row in enumerate(shortlist.rows[number]):
            size = tiny_gallery.sizes[row]
            drawn = drawn_twin(before[number, slot], size, wanted[number], 0.5)
            np.testing.assert_allclose(found[number, slot], drawn, atol=1e-5)
    plain = RefineBoxes(Patchify(tiny_gallery, tiny_encoder), evidence="patches", aspect=0)
    assert plain.encode(files, boxes).aspects is None


def test_patches_without_boxes_are_refused(tiny_gallery):
    told, queries, shortlist = setting()
    told.gallery.has_boxes = False
    with pytest.raises(GalleryError, match="no boxes to refine by"):
        RefineBoxes(told, evidence="patches")
    found = RefineBoxes(told).score(queries, shortlist)
    assert not np.array_equal(found.boxes, told.score(queries, shortlist).boxes, equal_nan=True)
    with pytest.raises(QueryError, match="no local descriptors"):
        RefineBoxes(told).score(Queries(queries.vectors), shortlist)
    told.gallery.has_local = False
    with pytest.raises(GalleryError, match="no boxes to refine by"):
        RefineBoxes(told)


def test_errors(tmp_path, tiny_gallery):
    told, queries, shortlist = setting()
    with pytest.raises(SettingError, match="top"):
        RefineBoxes(told, top=-1)
    with pytest.raises(SettingError, match="evidence"):
        RefineBoxes(told, evidence="both")
    with pytest.raises(SettingError, match="cut must"):
        RefineBoxes(told, cut=0.0)
    with pytest.raises(SettingError, match="aspect must"):
        RefineBoxes(told, aspect=1.1)
    with pytest.raises(SettingError, match="wrap one"):
        RefineBoxes("patchify")
    with pytest.raises(QueryError, match=r"told \(boxes refined.*no local descriptors"):
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
