"""Objects told from their ground, composed on backgrounds, and encoded under their masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from patchrerank.encoders import (
    Preprocessing,
    compose_views,
    find_object,
    load_encoder,
    load_one_pass,
    mask_pooling_of,
)
from patchrerank.encoders.query_object import faded
from patchrerank.errors import QueryError, SettingError
from patchrerank.types import QueryViews
from product_photos import cutout, disc, product, scene

VIEWS = QueryViews()
BOX = np.array([0.2, 0.2, 0.8, 0.8], np.float32)
GROUNDS = np.stack([np.asarray(scene(seed, 32, 24)) for seed in range(10)])


@pytest.fixture(scope="module")
def resnet():
    return load_encoder("timm:test_resnet", pretrained=False, image_size=64, backend="eager")


def test_text_is_read_back():
    for text in ("8:20:0.7", "0:0", "3:7.5:1", "8:20:0.5:grabcut", "0:20:grabcut"):
        assert str(QueryViews.parse(text)) == text
    assert QueryViews.parse("4") == QueryViews(4)
    assert QueryViews.parse("8:20:grabcut") == QueryViews(8, 20.0, "grabcut")
    assert QueryViews.parse("8:20:1") == QueryViews(8, canvas=1.0)


WRONG = ["", "eight", "8:", "8:20:", "8:20:magic", "65", "8:200", "-1"]
WRONG += ["8:20:2", "8:20:0.1", "8:20:1:1", "0:20:1"]


@pytest.mark.parametrize("text", WRONG)
def test_malformed_text_is_refused(text):
    with pytest.raises(SettingError, match="query views"):
        QueryViews.parse(text)


@pytest.mark.parametrize(
    "wrong", [{"backgrounds": -1}, {"rotate": float("nan")}, {"seed": -1}, {"canvas": 0.0}]
)
def test_impossible_views_are_refused(wrong):
    with pytest.raises(SettingError, match="query views"):
        QueryViews(**wrong)


def test_the_first_sign_of_an_object_counts():
    photo, mask = scene(3, 64, 64), disc()
    found = find_object(product(), VIEWS, mask=mask[:, ::-1], alpha=mask, box=BOX)
    assert found is not None and found.source == "mask"
    found = find_object(photo, VIEWS, alpha=mask, box=BOX)
    assert found is not None and found.source == "alpha"
    found = find_object(product(), VIEWS, box=BOX)
    assert found is not None and found.source == "plain"
    found = find_object(photo, VIEWS, box=BOX)
    assert found is not None and found.source == "box"
    assert find_object(photo, VIEWS) is None
    assert find_object(photo, VIEWS, box=np.full(4, np.nan, np.float32)) is None


def test_an_object_is_cut_to_what_is_solid_of_it():
    found = find_object(product(), VIEWS)
    assert found is not None
    rows, columns = (np.flatnonzero(disc().any(axis=axis)) for axis in (1, 0))
    height, width = found.pixels.shape[:2]
    assert abs(height - len(rows)) <= 2 and abs(width - len(columns)) <= 2
    solid = found.pixels[..., 3] == 255
    assert (found.pixels[solid][:, :3] < 240).all()  # none of the ground


def test_what_lies_outside_of_the_box_is_no_part():
    box = np.array([0.0, 0.0, 0.5, 1.0], np.float32)
    found = find_object(product(), VIEWS, box=box)
    assert found is not None and found.source == "plain"
    assert found.pixels.shape[1] <= found.pixels.shape[0] / 2 + 2
    with pytest.raises(QueryError, match="nowhere in the box"):
        find_object(product(), VIEWS, mask=disc(), box=np.array([0, 0, 0.1, 0.1], np.float32))


def test_edges_fade_inwards_but_thin_objects_stay():
    alpha = faded(disc(), 1.0)
    assert (alpha[~disc()] == 0).all() and alpha[32, 32] == 255
    edge = disc() & ~np.roll(disc(), 1, axis=0)
    assert 0 < alpha[edge].mean() < 255
    line = np.zeros((20, 20), bool)
    line[10] = True
    assert (faded(line, 1.0) == line * np.uint8(255)).all()


def test_large_pictures_are_reduced_and_masks_with_them():
    large = product(side=64).resize((2000, 2000), Image.Resampling.NEAREST)
    found = find_object(large, VIEWS, mask=disc())
    assert found is not None and max(found.pixels.shape[:2]) < 600


def test_views_show_the_object_before_the_grounds():
    found = find_object(cutout(), VIEWS, alpha=disc())
    assert found is not None
    made = compose_views(found, GROUNDS, VIEWS)
    assert made.pictures.shape == (8, 24, 32, 3) and made.covers.shape == (8, 24, 32)
    assert ((made.covers >= 0) & (made.covers <= 1)).all()
    for picture, cover in zip(made.pictures, made.covers, strict=True):
        assert any((picture[cover == 0] == ground[cover == 0]).all() for ground in GROUNDS)
        assert 0.15 < (cover > 0.5).mean() < 0.7
    shares = sorted((made.covers > 0.5).mean(axis=(1, 2)))
    assert shares[-1] > 1.5 * shares[0]  # of several sizes


def test_views_follow_from_the_object_and_the_seed_alone():
    first, again, other = (find_object(product(seed), VIEWS) for seed in (0, 0, 1))
    assert first is not None and again is not None and other is not None
    made = compose_views(first, GROUNDS, VIEWS)
    assert (made.pictures == compose_views(again, GROUNDS, VIEWS).pictures).all()
    assert (made.pictures != compose_views(other, GROUNDS, VIEWS).pictures).any()
    assert (made.pictures != compose_views(first, GROUNDS, QueryViews(seed=1)).pictures).any()


def test_on_a_smaller_canvas_the_object_is_as_large():
    found = find_object(cutout(), VIEWS, alpha=disc())
    assert found is not None
    full = compose_views(found, np.zeros((1, 64, 64, 3), np.uint8), QueryViews(0))
    part = compose_views(found, np.zeros((1, 48, 48, 3), np.uint8), QueryViews(0), share=0.75)
    assert part.covers.sum() == pytest.approx(full.covers.sum(), rel=0.1)
    close = compose_views(found, np.zeros((1, 32, 32, 3), np.uint8), VIEWS, share=0.5)
    assert ((close.covers > 0.5).any(axis=1).sum(axis=1) >= 31).all()  # fills it, and no more


def test_views_do_not_depend_on_threads():
    found = find_object(product(), VIEWS)
    assert found is not None
    alone, shared = (compose_views(found, GROUNDS, VIEWS, threads=n) for n in (1, 3))
    assert (alone.pictures == shared.pictures).all() and (alone.covers == shared.covers).all()


def test_no_background_is_one_upright_view_on_their_mean():
    found = find_object(product(), VIEWS)
    assert found is not None
    made = compose_views(found, GROUNDS, QueryViews(0))
    assert len(made) == 1
    corner = GROUNDS[:, 0, 0].mean(axis=0).round()
    assert (made.pictures[0, 0, 0] == corner).all()


def test_more_views_than_grounds_use_grounds_again():
    found = find_object(product(), VIEWS)
    assert found is not None
    assert len(compose_views(found, GROUNDS[:2], QueryViews(5))) == 5


def test_a_mask_of_ones_gives_the_encoders_own_vectors(resnet):
    pooling = mask_pooling_of(resnet)
    assert pooling is not None and mask_pooling_of(resnet) is pooling
    crops = np.stack([np.asarray(scene(seed, 64, 64)) for seed in range(3)])
    whole = pooling.encode(crops, np.ones((3, 64, 64), np.float32))
    np.testing.assert_allclose(whole, resnet.encode(crops), atol=1e-5)


def test_masks_weigh_cells_by_what_they_cover(resnet):
    """Against a slow twin: the mean over cells of the map, cell by cell."""
    pooling = mask_pooling_of(resnet)
    assert pooling is not None
    crops = np.stack([np.asarray(scene(seed, 64, 64)) for seed in range(2)])
    masks = np.random.default_rng(0).random((2, 64, 64)).astype(np.float32)
    (runner,) = load_one_pass(resnet, "64").runners
    high, wide = runner.cells.grid
    maps = runner.backend([crops]).reshape(2, high, wide, -1)
    for number, vector in enumerate(pooling.encode(crops, masks)):
        total, weights = 0.0, 0.0
        for row in range(high):
            for column in range(wide):
                rows, columns = 64 // high, 64 // wide
                part = masks[number, row * rows :, column * columns :][:rows, :columns].mean()
                total, weights = total + part * maps[number, row, column], weights + part
        expected = total / weights
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


def test_a_share_of_the_side_is_rounded_to_what_the_network_takes(resnet):
    pooling = mask_pooling_of(resnet, 0.7)
    assert pooling is not None and pooling.image_size == (32, 32)
    assert mask_pooling_of(resnet) is not pooling is mask_pooling_of(resnet, 0.7)
    crops = np.stack([np.asarray(scene(seed, 32, 32)) for seed in range(70)])
    whole = pooling.encode(crops, np.ones((70, 32, 32), np.float32))
    np.testing.assert_allclose(
        whole[:3], pooling.encode(crops[:3], np.ones((3, 32, 32))), atol=1e-5
    )


def test_an_encoder_without_a_mean_has_no_mask_pooling():
    module = torch.nn.Sequential(torch.nn.AdaptiveMaxPool2d(2), torch.nn.Flatten())
    encoder = load_encoder(
        module, preprocessing=Preprocessing((16, 16)), device="cpu", name="largest"
    )
    assert mask_pooling_of(encoder) is None
    assert mask_pooling_of(encoder) is None


def test_grabcut_finds_the_object_inside_the_box():
    pytest.importorskip("cv2")
    ground = np.asarray(scene(5, 96, 96)) // 4 + 150
    inside = disc(96)
    pixels = ground.astype(np.uint8)
    pixels[inside] = (200, 20, 20)
    picture, box = Image.fromarray(pixels), np.array([0.1, 0.1, 0.9, 0.9], np.float32)
    views = QueryViews(mask="grabcut")
    found = find_object(picture, views, box=box)
    again = find_object(picture, views, box=box)
    assert found is not None and again is not None and found.source == "grabcut"
    assert (found.pixels == again.pixels).all()
    assert found.pixels.shape[0] < 0.7 * 96  # tighter than the box
    whole = np.array([0, 0, 1, 1], np.float32)
    assert find_object(picture, views, box=whole) is None  # nothing is known to be ground
