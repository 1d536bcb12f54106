"""No strategy makes regions without end."""

from __future__ import annotations

import json

import pytest

from patchrerank.errors import RegionError
from patchrerank.regions import FixedBoxes, GridPyramid, SlidingWindows, parse_regions


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "spec",
    [
        "grid:1000",
        "grid:999999999999999999",
        "grid:" + "9" * 3000,
        "sliding:3:0.001",
        "sliding:2:1e-320",
        "sliding:99999999:0.5",
        "selective:5001",
        "grounding_dino:5001:a thing.:nowhere",
    ],
)
def test_too_many_regions_are_refused_at_once(spec):
    with pytest.raises(RegionError, match="more than 5,000 regions an image") as caught:
        parse_regions(spec)
    assert "--max-regions" in str(caught.value)
    assert len(str(caught.value)) < 250


def test_more_can_be_allowed():
    assert len(GridPyramid(25, most=10_000).boxes("", 900, 900)) == 6201
    assert parse_regions("grid:25", most=None) == GridPyramid(25, most=10_000)
    with pytest.raises(RegionError, match="more than 4 regions"):
        GridPyramid(1, most=4)
    assert len(GridPyramid(1, most=5).boxes("", 90, 90)) == 5
    assert len(SlidingWindows(1, 0.5, most=10).boxes("", 90, 90)) == 10
    with pytest.raises(RegionError, match="more than 9 regions"):
        SlidingWindows(1, 0.5, most=9)
    with pytest.raises(RegionError, match="at least 1"):
        GridPyramid(0, most=0)


def test_an_image_with_many_boxes_is_named(tmp_path):
    boxes = {"a": [[0, 0, 0.5, 0.5]] * 5001, "b": [[0, 0, 1, 1]]}
    (tmp_path / "b.json").write_text(json.dumps(boxes))
    regions = parse_regions(f"boxes:{tmp_path / 'b.json'}")
    assert len(regions.boxes_of("b", (9, 9))) == 2
    with pytest.raises(RegionError, match="'a': more than 5,000"):
        regions.boxes_of("a", (9, 9))
    assert len(FixedBoxes(boxes, most=None).boxes_of("a", (9, 9))) == 5002
