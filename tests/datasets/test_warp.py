import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patchrerank.datasets.composite.warp import (
    Layer,
    homography,
    outline,
    paste,
    project,
    relight,
    tight_box,
    visible_alpha,
    warp,
)


def square(width=40, height=30, colour=(200, 60, 20), border=3, under=(255, 0, 255)):
    """A solid rectangle in transparent surroundings that hide another colour."""
    pixels = np.zeros((height + 2 * border, width + 2 * border, 4), dtype=np.uint8)
    pixels[..., :3] = under
    pixels[border:-border, border:-border] = (*colour, 255)
    return Image.fromarray(pixels)


def shift(x, y, scale=1.0):
    return np.array([[scale, 0, x], [0, scale, y], [0, 0, 1]], dtype=np.float64)


def test_a_shift_by_whole_pixels_changes_no_pixel():
    layer = warp(square(), shift(17, 5))
    alpha = visible_alpha(layer, [], 60, 90)
    assert tight_box(alpha) == (20, 8, 60, 38)
    assert set(np.unique(alpha)) == {0.0, 1.0}
    canvas = np.full((60, 90, 3), 0.5, dtype=np.float32)
    paste(canvas, layer)
    expected = np.full((60, 90, 3), 0.5, dtype=np.float32)
    expected[8:38, 20:60] = np.float32([200, 60, 20]) / 255
    assert np.abs(canvas - expected).max() < 1e-6


@pytest.mark.parametrize("scale", [0.13, 0.4, 0.77, 1.0, 1.9])
@pytest.mark.parametrize("perspective", [0.0, 0.1])
def test_the_solid_pixels_lie_where_geometry_says(scale, perspective):
    rng = np.random.default_rng(1)
    image = square(300, 200)
    corners = np.array([[0, 0], [306, 0], [306, 206], [0, 206]], dtype=np.float64)
    angle = 0.3
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    moved = corners + perspective * rng.uniform(-1, 1, (4, 2)) * [306, 206]
    matrix = homography(corners, moved @ turn * scale + [200, 100])
    seen = project(matrix, outline(image))
    expected = np.concatenate([seen.min(axis=0), seen.max(axis=0)])
    found = tight_box(visible_alpha(warp(image, matrix), [], 900, 1200))
    assert np.abs(np.array(found) - expected).max() <= 1.5


def test_a_homography_hits_its_four_points():
    source = np.array([[0, 0], [10, 0], [10, 8], [0, 8]], dtype=np.float64)
    target = np.array([[3, 1], [14, 2], [12, 11], [1, 9]], dtype=np.float64)
    assert np.allclose(project(homography(source, target), source), target)


@pytest.mark.parametrize("scale", [0.21, 0.5, 0.9, 1.7])
def test_no_fringe_of_the_hidden_colour(scale):
    """The magenta under the transparent pixels must not tint the edges."""
    matrix = homography(
        np.array([[0, 0], [46, 0], [46, 36], [0, 36]], dtype=np.float64),
        np.array([[0, 4], [44, 0], [46, 30], [3, 36]], dtype=np.float64) * scale + 20,
    )
    canvas = np.full((120, 120, 3), [0, 0.5, 0], dtype=np.float32)
    paste(canvas, warp(square(colour=(0, 200, 0)), matrix))
    assert canvas[..., 0].max() < 0.02
    assert canvas[..., 2].max() < 0.02
    assert canvas[..., 1].min() > 0.45, "and no dark rim either"


def test_shrinking_does_not_alias():
    """Fine stripes become an even grey, not moiré."""
    stripes = np.full((256, 256, 4), 255, dtype=np.uint8)
    stripes[:, ::2, :3] = 0
    layer = warp(Image.fromarray(stripes), shift(0, 0, scale=0.19))
    inside = layer.pixels[10:40, 10:40, 0]
    assert abs(inside.mean() - 0.5) < 0.05
    assert inside.std() < 0.05


def test_layers_may_hang_over_every_border():
    layer = warp(square(), shift(-20, -10))
    canvas = np.zeros((20, 15, 3), dtype=np.float32)
    paste(canvas, layer)
    assert tight_box(visible_alpha(layer, [], 20, 15)) == (0, 0, 15, 20)
    assert (layer.alpha >= 0.5).sum() == 40 * 30
    far = warp(square(), shift(500, 500))
    before = canvas.copy()
    paste(canvas, far)
    assert np.array_equal(before, canvas)
    assert tight_box(visible_alpha(far, [], 20, 15)) is None


def test_layers_above_hide():
    below, above = warp(square(), shift(10, 10)), warp(square(), shift(30, 10))
    assert tight_box(visible_alpha(below, [above], 80, 100)) == (13, 13, 33, 43)


@settings(max_examples=30, deadline=None)
@given(st.integers(-30, 30), st.integers(-30, 30), st.integers(0, 2**32))
def test_pasting_equals_the_loop(left, top, seed):
    rng = np.random.default_rng(seed)
    alpha = rng.random((9, 7, 1), dtype=np.float32)
    pixels = np.concatenate([rng.random((9, 7, 3), dtype=np.float32) * alpha, alpha], axis=2)
    canvas = rng.random((12, 20, 3), dtype=np.float32)
    expected, shown = canvas.copy(), np.zeros((12, 20), dtype=np.float32)
    for row in range(9):
        for column in range(7):
            y, x = top + row, left + column
            if 0 <= y < 12 and 0 <= x < 20:
                share = pixels[row, column, 3]
                expected[y, x] = expected[y, x] * (1 - share) + pixels[row, column, :3]
                shown[y, x] = share
    layer = Layer(pixels, left, top)
    paste(canvas, layer)
    assert np.allclose(canvas, expected, atol=1e-6)
    assert np.array_equal(visible_alpha(layer, [], 12, 20), shown)
    solid = np.argwhere(shown >= 0.5)
    if not len(solid):
        assert tight_box(shown) is None
    else:
        (y0, x0), (y1, x1) = solid.min(axis=0), solid.max(axis=0) + 1
        assert tight_box(shown) == (x0, y0, x1, y1)


def test_light_leaves_alpha_and_zero_strength_leaves_all():
    image = square()
    rng = np.random.default_rng(0)
    assert relight(image, 0.0, rng) is image
    lit = relight(image, 0.5, rng)
    assert np.array_equal(np.asarray(lit)[..., 3], np.asarray(image)[..., 3])
    assert not np.array_equal(np.asarray(lit)[..., 0], np.asarray(image)[..., 0])
