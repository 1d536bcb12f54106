"""The object on a plain background."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchrerank.encoders import foreground_mask


def test_a_pasted_object_is_found_with_the_hole_of_the_background_s_colour_in_it():
    picture = Image.new("RGB", (40, 30), (230, 230, 230))
    picture.paste((10, 80, 10), (10, 5, 30, 25))
    picture.paste((230, 230, 230), (15, 10, 20, 15))
    mask = foreground_mask(picture)
    assert mask is not None
    truth = np.zeros((30, 40), dtype=bool)
    truth[5:25, 10:30] = True
    assert (mask == truth).all()


def test_a_plain_background_may_be_noisy_and_touched_by_the_object():
    noise = np.random.default_rng(0).integers(225, 235, (60, 60, 3)).astype(np.uint8)
    noise[40:60, 28:32] = (0, 0, 90)
    mask = foreground_mask(Image.fromarray(noise))
    assert mask is not None
    assert mask.sum() == 20 * 4 and mask[40:60, 28:32].all()


def test_scenes_and_empty_pictures_have_no_plain_background():
    scene = np.random.default_rng(1).integers(0, 255, (50, 50, 3)).astype(np.uint8)
    assert foreground_mask(Image.fromarray(scene)) is None
    assert foreground_mask(Image.new("RGB", (20, 20), (4, 5, 6))) is None
    assert foreground_mask(Image.new("RGB", (1, 1))) is None


@given(st.integers(1, 12), st.integers(1, 12), st.tuples(*[st.integers(0, 255)] * 3))
def test_every_size_is_taken(width, height, colour):
    picture = Image.new("RGB", (width, height), colour)
    assert foreground_mask(picture) is None


def test_only_the_outermost_pixels_tell_the_background():
    for side in range(4):
        pixels = np.full((20, 20, 3), 255, dtype=np.uint8)
        np.rot90(pixels, side)[1, 1:-1] = 0  # a bar, one pixel off the edge
        mask = foreground_mask(Image.fromarray(pixels))
        assert mask is not None and mask.sum() == 18
