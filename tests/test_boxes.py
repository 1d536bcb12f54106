from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from patchrerank.boxes import area, check_boxes, from_pixels, iou, to_pixels
from patchrerank.errors import RegionError


@st.composite
def boxes(draw, grid=16):
    xs = sorted(draw(st.lists(st.integers(0, grid), min_size=2, max_size=2, unique=True)))
    ys = sorted(draw(st.lists(st.integers(0, grid), min_size=2, max_size=2, unique=True)))
    return np.array([xs[0], ys[0], xs[1], ys[1]], dtype=np.float32) / grid


def slow_iou(first, second, grid=16):
    """Count cells of a grid that both boxes hold."""
    masks = []
    for x0, y0, x1, y1 in (first * grid, second * grid):
        mask = np.zeros((grid, grid), dtype=bool)
        mask[round(y0) : round(y1), round(x0) : round(x1)] = True
        masks.append(mask)
    return (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()


@given(boxes(), boxes())
def test_iou_equals_counting_cells(first, second):
    assert iou(first, second) == pytest.approx(slow_iou(first, second), abs=1e-6)
    assert iou(first, second) == iou(second, first)
    assert iou(first, first) == pytest.approx(1.0)


def test_no_box_overlaps_nothing():
    assert iou(np.full(4, np.nan, np.float32), np.array([0, 0, 1, 1], np.float32)) == 0.0


@given(boxes(), st.integers(16, 400), st.integers(16, 400))
def test_pixel_round_trip(box, width, height):
    pixels = np.array([box * [width, height, width, height]])
    back = from_pixels(pixels, width, height)
    assert np.allclose(back, box, atol=1e-6)
    x0, y0, x1, y1 = to_pixels(box, width, height)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height


def test_xywh():
    assert np.allclose(from_pixels([[10, 20, 30, 40]], 100, 100, "xywh"), [[0.1, 0.2, 0.4, 0.6]])
    with pytest.raises(RegionError, match="xyxy"):
        from_pixels([[1, 2, 3, 4]], 10, 10, "cxcywh")


@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(-2, 2, width=32)))
def test_check_accepts_exactly_the_good_ones(array):
    good = (
        (array >= -1e-4).all()
        and (array <= 1 + 1e-4).all()
        and (array[:, 0] < array[:, 2]).all()
        and (array[:, 1] < array[:, 3]).all()
    )
    if good:
        checked = check_boxes(array, "here")
        assert checked.min() >= 0
        assert checked.max() <= 1
    else:
        with pytest.raises(RegionError, match="here"):
            check_boxes(array, "here")


def test_nan_boxes_are_refused_and_none_is_fine():
    with pytest.raises(RegionError):
        check_boxes([[0.1, np.nan, 0.5, 0.5]], "x")
    assert check_boxes([], "x").shape == (0, 4)
    assert area(np.array([0.5, 0.5, 1, 1], np.float32)) == 0.25
