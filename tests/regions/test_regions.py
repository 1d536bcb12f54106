from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.errors import RegionError
from patchrerank.regions import FixedBoxes, GridPyramid, SlidingWindows, parse_regions

sides = st.integers(1, 700)


def covered(boxes, width, height):
    """How many boxes cover each pixel, counted pixel by pixel."""
    scale = np.array([width, height, width, height])
    pixels = boxes * scale
    assert np.allclose(pixels, np.round(pixels), atol=1e-3), "edges lie on whole pixels"
    count = np.zeros((height, width), dtype=int)
    for x0, y0, x1, y1 in np.round(pixels).astype(int):
        assert x0 < x1
        assert y0 < y1
        count[y0:y1, x0:x1] += 1
    return count


@pytest.mark.parametrize(("level", "count"), [(0, 1), (1, 5), (2, 14), (3, 30), (4, 55)])
def test_grid_counts(level, count):
    assert GridPyramid(level).boxes("", 640, 480).shape == (count, 4)
    assert GridPyramid(level).boxes("", 640, 480).dtype == np.float32


@given(level=st.integers(0, 5), width=sides, height=sides)
def test_each_grid_partitions_the_image_exactly(level, width, height):
    boxes = GridPyramid(level).boxes("", width, height)
    assert np.array_equal(boxes[0], [0, 0, 1, 1])
    start = 0
    for cells in range(1, level + 2):
        count = covered(boxes[start : start + cells * cells], width, height)
        assert (count >= 1).all()
        if width >= cells and height >= cells:
            assert (count == 1).all()
        start += cells * cells
    assert start == len(boxes)


@given(level=st.integers(0, 4), width=sides, height=sides)
def test_stride_one_is_the_grid(level, width, height):
    grid = GridPyramid(level).boxes("", width, height)
    assert np.array_equal(SlidingWindows(level, 1.0).boxes("", width, height), grid)


@given(
    level=st.integers(0, 4),
    stride=st.floats(0.1, 1.0),
    width=st.integers(5, 300),
    height=st.integers(5, 300),
)
def test_windows_cover_every_pixel_and_stay_inside(level, stride, width, height):
    boxes = SlidingWindows(level, stride).boxes("", width, height)
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert (covered(boxes, width, height) >= level + 1).all()
    assert (boxes[:, 2:].max(axis=0) == 1).all(), "the last window is flush with the border"


def test_half_stride_counts():
    assert len(SlidingWindows(3, 0.5).boxes("", 512, 512)) == 1 + 9 + 25 + 49
    assert len(SlidingWindows(1, 0.3).boxes("", 512, 512)) == 1 + 25


def test_tiny_image():
    assert GridPyramid(3).boxes("", 1, 1).shape == (30, 4)
    assert (GridPyramid(3).boxes("", 1, 1) == [0, 0, 1, 1]).all()


def test_fixed_boxes():
    regions = FixedBoxes({"a": [[0.1, 0.1, 0.5, 0.5]], "b": []})
    assert len(regions.boxes("a", 9, 9)) == 2
    assert np.array_equal(regions.boxes("b", 9, 9), [[0, 0, 1, 1]])
    assert len(FixedBoxes({"b": []}, whole_image=False).boxes("b", 9, 9)) == 0
    with pytest.raises(RegionError, match="'c'"):
        regions.boxes("c", 9, 9)
    with pytest.raises(RegionError, match=r"'x'.*box 0"):
        FixedBoxes({"x": [[0.5, 0.1, 0.4, 0.5]]})
    with pytest.raises(RegionError, match="divide pixel boxes"):
        FixedBoxes({"x": [[10, 10, 50, 50]]})
    with pytest.raises(RegionError, match="shape"):
        FixedBoxes({"x": [[0.1, 0.2, 0.3]]})


def test_fixed_boxes_spec_depends_on_content():
    one = FixedBoxes({"a": [[0.1, 0.1, 0.5, 0.5]]}).spec
    assert one == FixedBoxes({"a": [[0.1, 0.1, 0.5, 0.5]]}).spec
    assert one != FixedBoxes({"a": [[0.1, 0.1, 0.5, 0.6]]}).spec
    assert one != FixedBoxes({"a": [[0.1, 0.1, 0.5, 0.5]]}, whole_image=False).spec


def test_parse(tmp_path):
    assert parse_regions("grid:3") == GridPyramid(3)
    assert parse_regions("sliding:2:0.25") == SlidingWindows(2, 0.25)
    assert parse_regions("sliding:2") == SlidingWindows(2, 0.5)
    for regions in (GridPyramid(2), SlidingWindows(1, 0.25)):
        assert parse_regions(regions.spec) == regions
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps({"a": [[0, 0, 0.5, 0.5]]}))
    assert len(parse_regions(f"boxes:{file}").boxes("a", 5, 5)) == 2
    for wrong, what in [
        ("gird:3", "did you mean grid"),
        ("grid", "malformed"),
        ("grid:x", "malformed"),
        ("grid:3:0.5", "too many"),
        ("grid:-1", "at least 0"),
        ("sliding:1:0", r"\(0, 1\]"),
        ("boxes:/nowhere.json", "nowhere"),
    ]:
        with pytest.raises(RegionError, match=what):
            parse_regions(wrong)
