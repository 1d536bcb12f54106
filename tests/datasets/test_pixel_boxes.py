"""Boxes in pixels of photographs that are stored lying on their side."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from patchrerank.datasets._pixel_boxes import PixelBox, relative_boxes
from patchrerank.errors import DatasetError


def picture(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (160, 120)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_that_fit_only_the_stored_pixels_are_refused(tmp_path, orientation):
    file = picture(tmp_path / "a.jpg", orientation)
    box = PixelBox.of(np.array([[130.0, 20, 150, 60]]), file, "boxes.txt")
    if orientation < 5:
        assert np.allclose(relative_boxes([box], "xyxy")[0], [[130 / 160, 1 / 6, 150 / 160, 0.5]])
        return
    with pytest.raises(DatasetError, match=r"boxes\.txt.*only as it is stored, 160 × 120"):
        relative_boxes([box], "xyxy")


def test_boxes_of_the_upright_picture_are_taken(tmp_path):
    file = picture(tmp_path / "a.jpg", 6)
    box = PixelBox.of(np.array([[20.0, 130, 60, 150]]), file, "boxes.txt")
    assert np.allclose(relative_boxes([box], "xyxy")[0], [[1 / 6, 130 / 160, 0.5, 150 / 160]])
    both = PixelBox.of(np.array([[20.0, 30, 60, 300]]), file, "boxes.txt")
    assert relative_boxes([both], "xyxy")[0][0][3] == 1, "cut, as ever"
