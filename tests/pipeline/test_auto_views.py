"""Query views where nobody asks: used where they are possible, and silent where not."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from patchrerank.encoders import load_encoder, mask_pooling
from patchrerank.errors import SettingError
from patchrerank.gallery import BuildOptions, build_gallery, view_vectors
from patchrerank.pipeline import Recipe, load_reranker
from patchrerank.regions import GridPyramid
from patchrerank.types import AUTO_VIEWS, QueryViews
from product_photos import disc, product, scene


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("timm:test_resnet", pretrained=False, image_size=64, backend="eager")


def built(encoder, folder, **how):
    pairs = [(f"p{number}", scene(number)) for number in range(6)]
    options = BuildOptions(progress=False, **how)
    return build_gallery(folder, pairs, encoder, GridPyramid(1), options)


@pytest.fixture(scope="module")
def gallery(encoder, tmp_path_factory):
    return built(encoder, tmp_path_factory.mktemp("auto") / "g")


def test_an_object_is_seen_in_two_views(gallery, encoder):
    auto = load_reranker(gallery, encoder=encoder)
    asked = load_reranker(gallery, encoder=encoder, query_views=QueryViews(2))
    found, expected = auto.encode([product(), scene(50)]), asked.encode([product(), scene(50)])
    assert found.views == expected.views == ("plain", "none")
    assert np.array_equal(found.vectors, expected.vectors)
    hits = auto.rank(product(), list(gallery.ids))
    assert {hit.query_views for hit in hits} == {"plain"}
    assert str(auto.query_views).startswith("auto (2:20")


def test_without_an_object_nothing_is_done_loaded_or_said(gallery, encoder, caplog, monkeypatch):
    other = load_encoder("timm:test_resnet", pretrained=False, image_size=64, backend="eager")
    monkeypatch.setattr(mask_pooling, "_loaded", lambda *_: pytest.fail("not for scenes"))
    auto = load_reranker(gallery, encoder=encoder, query_views="auto")
    auto.encoder = other
    plain = load_reranker(gallery, encoder=encoder, query_views=None)
    with caplog.at_level(logging.INFO):
        found = auto.encode([scene(50)], [(0.0, 0.0, 1.0, 0.9)])
    assert found.views == ("none",) and not caplog.records
    assert np.array_equal(found.vectors, plain.encode([scene(50)]).vectors)
    vector = plain.encode([product()]).vectors[0]
    assert auto.encode([vector]).views == ()


def test_masks_and_boxes_tell_objects(gallery, encoder):
    auto = load_reranker(gallery, encoder=encoder)
    found = auto.encode([scene(50)], masks=[disc()])
    assert found.views == ("mask",)
    assert auto.encode([scene(50)], [(0.2, 0.2, 0.6, 0.6)]).views == ("box",)


def test_a_gallery_or_an_encoder_may_not_have_them(tmp_path, encoder, tiny_encoder, tiny_gallery):
    bare = built(encoder, tmp_path / "bare", backgrounds=0)
    assert load_reranker(bare, encoder=encoder).query_views is None
    auto = load_reranker(tiny_gallery, encoder=tiny_encoder)
    plain = load_reranker(tiny_gallery, encoder=tiny_encoder, query_views=None)
    found = auto.encode([product()])
    assert tiny_gallery.has_backgrounds and found.views == ("none",)
    assert np.array_equal(found.vectors, plain.encode([product()]).vectors)


def test_files_recipes_and_stages_decide_themselves(gallery, encoder, tmp_path):
    recipe = Recipe.parse("patchify")
    recipe.save(tmp_path / "recipe.json")
    for made in (recipe, str(tmp_path / "recipe.json"), tmp_path / "recipe.json"):
        assert load_reranker(gallery, made, encoder=encoder).query_views is None
    stages = load_reranker(gallery, encoder=encoder, query_views=None).stages
    assert load_reranker(gallery, list(stages)).query_views is None
    kept = Recipe.parse("patchify", query_views=QueryViews(5))
    assert load_reranker(gallery, kept, encoder=encoder).query_views == QueryViews(5)
    assert load_reranker(gallery, "patchify", encoder=encoder).query_views == AUTO_VIEWS
    with pytest.raises(SettingError, match="query_views"):
        load_reranker(gallery, query_views="always")


def test_the_log_of_views_that_were_asked_for_stays(gallery, encoder, caplog):
    load_reranker(gallery, encoder=encoder, query_views=QueryViews(2)).encode([scene(50)])
    assert "query views do nothing for 1 of 1" in caplog.text
    assert view_vectors.logger.name in {record.name for record in caplog.records}
