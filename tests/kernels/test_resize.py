from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, __version__

from patchrerank.kernels.resize import resize, weights

PILLOW = {"box": Image.Resampling.BOX, "bilinear": Image.Resampling.BILINEAR}
SIDES = st.integers(1, 70)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice(np.array([0, 1, 77, 128, 254, 255], dtype=np.uint8), (height, width, 3))


def resized(pixels: np.ndarray, height: int, width: int, filter_: str) -> np.ndarray:
    out = np.empty((height, width, 3), dtype=np.uint8)
    resize(pixels, out, filter_)
    return out


def by_pillow(pixels: np.ndarray, height: int, width: int, filter_: str) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((width, height), PILLOW[filter_]))


@pytest.mark.parametrize("filter_", PILLOW)
@pytest.mark.skipif(int(__version__.split(".")[0]) < 13, reason="began with rows in any case")
@settings(max_examples=150, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 9))
@example(1, 1, 224, 224, 0)
@example(224, 224, 1, 1, 0)
@example(128, 171, 224, 224, 0)
@example(512, 333, 224, 224, 0)
def test_every_bit_is_pillows(filter_, height, width, new_height, new_width, seed):
    pixels = noise(height, width, seed)
    expected = by_pillow(pixels, new_height, new_width, filter_)
    np.testing.assert_array_equal(resized(pixels, new_height, new_width, filter_), expected)


@pytest.mark.parametrize("filter_", PILLOW)
@settings(max_examples=60, deadline=None)
@given(height=SIDES, new_height=SIDES, side=st.integers(1, 9), seed=st.integers(0, 9))
def test_same_scale_both_ways_is_every_pillows(filter_, height, new_height, side, seed):
    pixels = noise(height, height * side, seed)
    expected = by_pillow(pixels, new_height, new_height * side, filter_)
    found = resized(pixels, new_height, new_height * side, filter_)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("filter_", PILLOW)
def test_rectangle_of_a_picture(filter_):
    pixels = noise(90, 120)
    part = pixels[7:55, 31:117]
    expected = by_pillow(np.ascontiguousarray(part), 24, 43, filter_)
    np.testing.assert_array_equal(resized(part, 24, 43, filter_), expected)
    pixels.setflags(write=False)
    np.testing.assert_array_equal(resized(part, 24, 43, filter_), expected)


@pytest.mark.parametrize("filter_", PILLOW)
@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 400), new_size=st.integers(1, 400))
def test_weights_stay_inside_and_sum_to_one(filter_, size, new_size):
    first, table = weights(size, new_size, filter_)
    assert first.min() >= 0
    assert first.max() + table.shape[1] <= size
    assert table.min() >= 0
    np.testing.assert_allclose(table.sum(axis=1) / 2**22, 1.0, atol=1e-4)


def test_threads_agree():
    pictures = [noise(60, 50, seed) for seed in range(9)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda picture: resized(picture, 31, 77, "bilinear"), pictures))
    for picture, one in zip(pictures, found, strict=True):
        np.testing.assert_array_equal(one, resized(picture, 31, 77, "bilinear"))
