"""Masks of query pictures, and transparency."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from patchrerank.errors import ImageError, QueryError
from patchrerank.images import alpha_mask, read_image, read_mask
from product_photos import cutout, disc, product


def test_what_is_transparent_is_told_from_what_is_not():
    assert (alpha_mask(cutout()) == disc()).all()
    assert alpha_mask(product()) is None
    opaque = product().convert("RGBA")
    assert alpha_mask(opaque) is None
    opaque.putalpha(0)
    assert alpha_mask(opaque) is None


def test_transparency_is_turned_upright(tmp_path):
    picture = cutout().crop((0, 0, 64, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    mask = alpha_mask(tmp_path / "a.png")
    assert mask is not None
    assert mask.shape == read_image(tmp_path / "a.png").size[::-1] == (64, 40)


def test_masks_come_in_many_forms(tmp_path):
    grey = Image.fromarray(disc().astype(np.uint8) * 255)
    grey.save(tmp_path / "mask.png")
    cutout().save(tmp_path / "rgba.png")
    forms = [disc(), disc().astype(np.uint8) * 255, grey, tmp_path / "mask.png"]
    forms += [str(tmp_path / "rgba.png"), (tmp_path / "mask.png").read_bytes()]
    for form in forms:
        assert (read_mask(form, (64, 64), "query 0") == disc()).all()


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.ones((64, 32), bool), "query 3: its mask has 32 × 64 pixels, the picture 64 × 64"),
        (np.zeros((64, 64), bool), "query 3: its mask is empty"),
        (np.ones((64, 64, 3), bool), "query 3: its mask is"),
        (7, "query 3: its mask is 7"),
        (np.array([["a"]]), "query 3: its mask is"),
    ],
)
def test_masks_that_do_not_fit_are_refused_by_name(mask, said):
    with pytest.raises(QueryError, match=said):
        read_mask(mask, (64, 64), "query 3")


def test_a_mask_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"mask\.png"):
        read_mask(tmp_path / "mask.png", (64, 64), "query 0")
