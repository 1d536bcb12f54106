"""Boxes of pictures that are stored turned: they land where the object is, or are refused."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from PIL import Image

from patchrerank.boxes import turned
from patchrerank.errors import RegionError
from patchrerank.regions import FixedBoxes, parse_regions

STORED = (160, 120)
BOX = (40, 10, 60, 50)
"""x0, y0, x1, y1 of the object in the stored pixels."""

ORIENTATIONS = range(1, 9)


def upright(orientation):
    """The picture as Pillow turns it upright: black, the object white."""
    from PIL import ImageOps

    stored = np.zeros(STORED[::-1], np.uint8)
    stored[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    return ImageOps.exif_transpose(image)


def coco(tmp_path, size, box):
    x0, y0, x1, y1 = box
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}],
        "annotations": [{"image_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    return path


def seen(picture, box):
    """What the picture holds inside and outside of a relative box."""
    pixels = np.asarray(picture)
    x0, y0, x1, y1 = np.rint(box * np.tile(picture.size, 2)).astype(int)
    outside = pixels.astype(int).sum() - pixels[y0:y1, x0:x1].astype(int).sum()
    return pixels[y0:y1, x0:x1].min(), outside


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_box_is_turned_with_its_picture(orientation):
    box = np.array([BOX], np.float32) / np.float32([*STORED, *STORED])
    assert seen(upright(orientation), turned(box, orientation)[0]) == (255, 0)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_boxes_of_stored_pixels_land_on_the_object(tmp_path, orientation):
    picture = upright(orientation)
    file = coco(tmp_path, STORED, BOX)
    regions = parse_regions(f"coco_stored:{file}")
    assert seen(picture, regions.boxes_of("a.jpg", picture.size, orientation)[1]) == (255, 0)
    if orientation in (1, 5, 6, 7, 8):  # half turns and mirrors keep the size: nothing to see
        regions = parse_regions(f"coco:{file}")
        assert seen(picture, regions.boxes_of("a.jpg", picture.size, orientation)[1]) == (255, 0)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_boxes_of_the_upright_picture_stay(tmp_path, orientation):
    picture = upright(orientation)
    rows, columns = np.nonzero(np.asarray(picture))
    box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    regions = parse_regions(f"coco:{coco(tmp_path, picture.size, [int(v) for v in box])}")
    assert seen(picture, regions.boxes_of("a.jpg", picture.size, orientation)[1]) == (255, 0)


def test_boxes_of_a_picture_of_another_size_are_refused(tmp_path):
    regions = parse_regions(f"coco:{coco(tmp_path, STORED, BOX)}")
    for size, orientation in [((80, 60), 1), ((120, 160), 1), ((120, 160), 3), ((60, 80), 6)]:
        with pytest.raises(RegionError, match=r"'a\.jpg'.*160 × 120.*relative boxes"):
            regions.boxes_of("a.jpg", size, orientation)
    stored = parse_regions(f"coco_stored:{coco(tmp_path, (120, 160), BOX)}")
    with pytest.raises(RegionError, match="120 × 160 pixels upright and 160 × 120"):
        stored.boxes_of("a.jpg", (120, 160), 6)


def test_relative_boxes_have_no_size():
    given = FixedBoxes({"a": [[0, 0, 0.5, 0.25]]}, whole_image=False)
    assert np.allclose(given.boxes_of("a", (120, 160), 6), [[0, 0, 0.5, 0.25]])
    stored = FixedBoxes({"a": [[0, 0, 0.5, 0.25]]}, whole_image=False, pixels="stored")
    assert np.allclose(stored.boxes_of("a", (120, 160), 6), [[0.75, 0, 1, 0.5]])
    assert stored.spec != given.spec
    with pytest.raises(RegionError, match="'sideways'"):
        FixedBoxes({}, pixels="sideways")


def test_what_the_size_does_not_tell_is_said_once(tmp_path, caplog):
    regions = parse_regions(f"coco:{coco(tmp_path, STORED, BOX)}")
    with caplog.at_level(logging.WARNING):
        regions.boxes_of("a.jpg", STORED, 3)
        regions.boxes_of("a.jpg", STORED, 3)
        regions.boxes_of("a.jpg", STORED, 1)
    assert len(caplog.records) == 1
    assert "coco_stored" in caplog.text
