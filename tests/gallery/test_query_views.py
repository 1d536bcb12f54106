"""Queries encoded in several views."""

from __future__ import annotations

import logging
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from patchrerank.encoders import compose_views, find_object, load_dense_encoder, load_encoder
from patchrerank.errors import QueryError, SettingError
from patchrerank.fusion import Fusion
from patchrerank.gallery import (
    BuildOptions,
    build_gallery,
    composed_queries,
    encode_local_views,
    encode_queries,
)
from patchrerank.gallery.query_views import SeenQueries
from patchrerank.pipeline import Cascade, Recipe, Stage, load_reranker
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import Patchify
from patchrerank.types import QueryViews
from product_photos import cutout, disc, product, scene

VIEWS = QueryViews(3)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("timm:test_resnet", pretrained=False, image_size=64, backend="eager")


@pytest.fixture(scope="module")
def gallery(encoder, tmp_path_factory):
    pairs = [(f"p{number}", scene(number)) for number in range(6)]
    folder = tmp_path_factory.mktemp("views") / "g"
    how = BuildOptions(progress=False)
    return build_gallery(folder, pairs, encoder, GridPyramid(1), how)


def encoded(encoder, gallery, pictures, views=VIEWS, **given):
    kept = gallery.backgrounds
    return encode_queries(encoder, pictures, views=views, backgrounds=kept, **given)


def test_the_vector_is_the_mean_of_the_plain_one_and_the_views(tiny_encoder, tiny_gallery):
    """Against a slow twin, with an encoder whose vectors are no mean of a map."""
    picture = product()
    found = encoded(tiny_encoder, tiny_gallery, [picture])
    thing = find_object(picture, VIEWS)
    views = compose_views(thing, tiny_gallery.backgrounds.crops, VIEWS)
    plain = tiny_encoder.encode_images([picture])[0]
    total = plain + sum(tiny_encoder.encode(view[None])[0] for view in views.pictures)
    np.testing.assert_allclose(found.vectors[0], total / np.linalg.norm(total), atol=1e-6)
    assert found.views == ("plain",)


def test_a_batch_is_what_its_queries_are_alone(encoder, gallery, caplog):
    pictures = [product(0), scene(50), cutout(1), product(2), scene(51)]
    boxes = [None, None, None, [0.1, 0.1, 0.9, 0.9], [0.2, 0.2, 0.8, 0.8]]
    masks = [disc(), None, None, None, None]
    with caplog.at_level(logging.WARNING):
        together = encoded(encoder, gallery, pictures, boxes=boxes, masks=masks, batch=2)
    assert together.views == ("mask", "none", "alpha", "plain", "box")
    assert "1 of 5 queries" in caplog.text and "query 1" in caplog.text
    for number, picture in enumerate(pictures):
        alone = encoded(encoder, gallery, [picture], boxes=[boxes[number]], masks=[masks[number]])
        np.testing.assert_allclose(together.vectors[number], alone.vectors[0], atol=1e-6)
        assert alone.views == together.views[number : number + 1]
    again = encoded(encoder, gallery, pictures, boxes=boxes, masks=masks, batch=2)
    assert (again.vectors == together.vectors).all()


def test_without_an_object_nothing_is_done(encoder, gallery):
    scenes = [scene(60), scene(61)]
    plain = encode_queries(encoder, scenes)
    assert (encoded(encoder, gallery, scenes).vectors == plain.vectors).all()


def test_no_background_takes_no_more_passes_than_a_plain_query(encoder, gallery, monkeypatch):
    passes = []
    from patchrerank.encoders.mask_pooling import MaskPooling

    own = MaskPooling.encode

    def counted(self, crops, masks):
        passes.append(len(crops))
        return own(self, crops, masks)

    monkeypatch.setattr(MaskPooling, "encode", counted)
    encoded(encoder, gallery, [product(0), product(1)], QueryViews(0))
    encoded(encoder, gallery, [product(0), product(1)], QueryViews(4))
    assert passes == [2, 8]


def test_no_background_needs_a_mean_of_a_map(tiny_encoder, tiny_gallery):
    with pytest.raises(SettingError, match="2 backgrounds or more"):
        encoded(tiny_encoder, tiny_gallery, [product()], QueryViews(0))


def test_whitening_comes_behind_the_mean(encoder, gallery):
    from patchrerank.encoders import learn_spectrum

    rows = np.random.default_rng(0).standard_normal((200, encoder.dim)).astype(np.float32)
    whitening = learn_spectrum(rows).whitening(8)
    raw = encoded(encoder, gallery, [product()])
    found = encoded(encoder, gallery, [product()], whitening=whitening)
    np.testing.assert_allclose(found.vectors, whitening.apply(raw.vectors), atol=1e-6)


def test_masks_that_do_not_fit_name_the_query(encoder, gallery):
    pictures = [product(0), product(1)]
    with pytest.raises(QueryError, match=r"query 1, .*64 × 64"):
        encoded(encoder, gallery, pictures, masks=[None, np.ones((5, 5), bool)])
    with pytest.raises(QueryError, match="2 query pictures but 1 masks"):
        encoded(encoder, gallery, pictures, masks=[None])
    box = [0.0, 0.0, 0.05, 0.05]
    with pytest.raises(QueryError, match=r"query 0, .*nowhere in the box"):
        encoded(encoder, gallery, pictures[:1], masks=[disc()], boxes=[box])
    with pytest.raises(SettingError, match="backgrounds=gallery"):
        encode_queries(encoder, pictures, views=VIEWS)


def test_every_ranker_takes_them_and_every_hit_says_so(encoder, gallery):
    plain = load_reranker(gallery, "patchify", encoder=encoder, query_views=None)
    ranker = load_reranker(gallery, "patchify", encoder=encoder, query_views=VIEWS)
    ids = list(gallery.ids)
    hits = ranker.rank(scene(70), ids, mask=np.ones((64, 64), bool))
    assert {hit.query_views for hit in hits} == {"mask"}
    assert {hit.query_views for hit in plain.rank(product(), ids)} == {"none"}
    assert {hit.query_views for hit in ranker.rank(product(), ids)} == {"plain"}
    stage = Patchify(gallery, encoder).with_query_views(VIEWS)
    scores = [[hit.local_score for hit in one.rank(product(), ids)] for one in (stage, ranker)]
    assert scores[0] == scores[1]
    assert Cascade([Stage(stage, Fusion())]).query_views == VIEWS
    with pytest.raises(SettingError, match="other query_views"):
        Cascade([Stage(stage, Fusion()), Stage(Patchify(gallery, encoder), Fusion())])
    vector = plain.encode([product()]).vectors[0]
    ready = ranker.rank(vector, ids)
    assert ready == plain.rank(vector, ids)
    with pytest.raises(QueryError, match="no mask"):
        ranker.rank(vector, ids, mask=disc())
    with pytest.raises(SettingError, match="query_views is text"):
        load_reranker(gallery, "patchify", query_views="8")


def test_recipes_hold_them_and_pickles_carry_them(encoder, gallery, tmp_path):
    Recipe.parse("patchify", query_views=VIEWS).save(tmp_path / "recipe.json")
    ranker = load_reranker(gallery, tmp_path / "recipe.json", encoder=encoder)
    assert ranker.query_views == VIEWS
    with pytest.raises(SettingError, match="query_views"):
        load_reranker(gallery, tmp_path / "recipe.json", query_views=VIEWS)
    bare = load_reranker(gallery, "patchify", query_views=VIEWS)
    assert pickle.loads(pickle.dumps(bare)).query_views == VIEWS


def test_threads_share_a_ranker(encoder, gallery):
    ranker = load_reranker(gallery, "patchify", encoder=encoder, query_views=VIEWS)
    pictures = [product(number) for number in range(6)]
    expected = [ranker.encode([picture]).vectors for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda picture: ranker.encode([picture]).vectors, pictures))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_views_have_local_descriptors_of_their_objects_alone(encoder, gallery):
    dense = load_dense_encoder(encoder, image_size=64)
    unknown = np.full((2, 4), np.nan, np.float32)
    seen = SeenQueries([product(), scene(80)], unknown, [None, None])
    local = encode_local_views(dense, seen, VIEWS, gallery.backgrounds)
    assert local.identity == dense.identity
    assert 0 < len(local[0]) < 3 * np.prod(dense.grids[0]) and len(local[1]) == 0
    found, nothing = composed_queries(seen, VIEWS, gallery.backgrounds, (64, 64))
    assert found.source == "plain" and found.views is not None and len(found.views) == 3
    assert nothing.source == "none" and nothing.views is None
