from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patchrerank.boxes import to_pixels
from patchrerank.encoders import Preprocessing
from patchrerank.errors import EncoderError, RegionError

WHOLE = [[0.0, 0.0, 1.0, 1.0]]
EVERY_FILTER = ["area", "bilinear", "bicubic", "lanczos", "nearest"]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_area_averages_the_covered_pixels():
    pixels = noise(12, 20)
    crop = Preprocessing((3, 4)).prepare(Image.fromarray(pixels), WHOLE)[0]
    means = pixels.reshape(3, 4, 4, 5, 3).mean(axis=(1, 3))
    assert np.abs(crop - means).max() <= 1.0


def test_area_is_bilinear_where_a_side_grows():
    image = Image.fromarray(noise(4, 20))
    area = Preprocessing((8, 10), interpolation="area").prepare(image, WHOLE)
    bilinear = Preprocessing((8, 10), interpolation="bilinear").prepare(image, WHOLE)
    np.testing.assert_array_equal(area, bilinear)


@pytest.mark.parametrize("interpolation", EVERY_FILTER)
def test_one_colour_stays_that_colour(interpolation):
    image = Image.new("RGB", (17, 9), (200, 30, 90))
    crops = Preprocessing((5, 31), interpolation=interpolation).prepare(image, WHOLE)
    assert crops.shape == (1, 5, 31, 3)
    assert crops.dtype == np.uint8
    assert (crops == [200, 30, 90]).all()


@pytest.mark.parametrize("interpolation", EVERY_FILTER)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_pixels_outside_the_box_have_no_influence(interpolation, data):
    corners = [data.draw(st.lists(st.integers(0, 20), min_size=2, max_size=2, unique=True))
               for _ in range(2)]  # fmt: skip
    (x0, x1), (y0, y1) = (sorted(pair) for pair in corners)
    box = np.array([x0, y0, x1, y1]) / 20.0
    pixels, other = noise(31, 43), noise(31, 43, seed=1)
    left, top, right, bottom = to_pixels(box, 43, 31)
    other[top:bottom, left:right] = pixels[top:bottom, left:right]
    prepare = Preprocessing((8, 7), interpolation=interpolation).prepare
    first, second = (prepare(Image.fromarray(array), box[None]) for array in (pixels, other))
    np.testing.assert_array_equal(first, second)


def test_crop_of_the_networks_size_is_copied_exactly():
    pixels = noise(40, 40)
    crop = Preprocessing((10, 20)).prepare(Image.fromarray(pixels), [[0.25, 0.5, 0.75, 0.75]])
    np.testing.assert_array_equal(crop[0], pixels[20:30, 10:30])


def test_channels_are_rgb_whatever_the_mode():
    red = Image.new("RGB", (6, 6), (255, 0, 0))
    for mode in ("RGB", "RGBA", "P"):
        crop = Preprocessing((2, 2)).prepare(red.convert(mode), WHOLE)
        assert crop[0, 0, 0].tolist() == pytest.approx([255, 0, 0], abs=2)
    assert Preprocessing((2, 2)).prepare(red.convert("L"), WHOLE).shape == (1, 2, 2, 3)


def test_no_boxes_give_no_crops():
    assert Preprocessing((4, 6)).prepare(Image.new("RGB", (9, 9)), []).shape == (0, 4, 6, 3)


def test_threads_agree_with_one_thread():
    images = [Image.fromarray(noise(50, 60, seed)) for seed in range(12)]
    boxes = [[0, 0, 1, 1], [0.1, 0.2, 0.5, 0.9]]
    prepare = Preprocessing((16, 16)).prepare
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda image: prepare(image, boxes), images))
    for image, crops in zip(images, threaded, strict=True):
        np.testing.assert_array_equal(crops, prepare(image, boxes))


def test_bad_boxes_are_named():
    with pytest.raises(RegionError, match="box 1"):
        Preprocessing((4, 4)).prepare(Image.new("RGB", (9, 9)), [[0, 0, 1, 1], [0.5, 0, 0.5, 1]])


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"image_size": (0, 4)}, "image_size"),
        ({"image_size": (4, 4, 4)}, "image_size"),
        ({"image_size": (4, 10**30)}, "image_size .* 1 to 16384 pixels"),
        ({"image_size": (4.5, 4)}, "image_size"),
        ({"mean": (0.1, 0.2)}, "mean needs three"),
        ({"mean": (0.1, 0.2, float("nan"))}, "finite"),
        ({"std": (1, 0, 1)}, "std must be above 0"),
        ({"interpolation": "bicubik"}, "did you mean bicubic"),
    ],
)
def test_impossible_settings(settings_, words):
    with pytest.raises(EncoderError, match=words):
        Preprocessing(**{"image_size": (4, 4), **settings_})


def test_lists_become_tuples_and_back():
    made = Preprocessing([4, 6], mean=[0, 0, 0], std=[1, 1, 1])  # type: ignore[arg-type]
    assert made == Preprocessing((4, 6), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    record = json.loads(json.dumps(made.as_dict()))
    assert record == made.as_dict()
    assert Preprocessing(**record) == made
