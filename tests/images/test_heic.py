"""HEIC and MPO: what telephones write."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from patchrerank.errors import ImageError
from patchrerank.images import find_images, read_image, stored_orientation, upright_size

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def upright():
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :48], pixels[32:, 48:] = (250, 20, 20), (20, 20, 250)
    return Image.fromarray(pixels)


def exif(orientation):
    made = Image.Exif()
    made[ORIENTATION] = orientation
    return made


def save_heic(path, image, orientation=1):
    """The container then says how to turn the pixels, as a telephone's does, and EXIF too."""
    heif = pytest.importorskip("pillow_heif")
    file = heif.from_bytes("RGB", image.size, image.tobytes())
    file.info["exif"] = exif(orientation).tobytes()
    file.save(path, quality=95)


@pytest.mark.parametrize(("orientation", "turn"), [(1, None), (6, Image.Transpose.ROTATE_90)])
def test_heic_is_read_upright(tmp_path, upright, orientation, turn):
    stored = upright if turn is None else upright.transpose(turn)
    path = tmp_path / "a.heic"
    save_heic(path, stored, orientation)
    assert upright_size(path) == upright.size
    for source in (path, path.read_bytes()):
        read = read_image(source)
        assert read.mode == "RGB" and read.size == upright.size
        assert np.abs(np.asarray(read, int) - np.asarray(upright, int)).mean() < 10
    assert [found.name for found in find_images(tmp_path).files] == ["a.heic"]


def test_heic_counts_as_upright(tmp_path, upright):
    save_heic(tmp_path / "a.heic", upright.transpose(Image.Transpose.ROTATE_90), 6)
    assert stored_orientation(tmp_path / "a.heic") == 1


def test_avif_is_turned_by_its_exif(tmp_path, upright):
    path = tmp_path / "a.avif"
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif(6), quality=95)
    assert upright_size(path) == read_image(path).size == upright.size
    assert stored_orientation(path) == 6
    assert np.abs(np.asarray(read_image(path), int) - np.asarray(upright, int)).mean() < 10


def test_without_the_extra_heic_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"x" * 99
    )
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    with pytest.raises(ImageError, match=r"a\.heic.*patchrerank\[heic\]"):
        read_image(tmp_path / "a.heic")


def test_damaged_heic_is_named(tmp_path, upright):
    save_heic(tmp_path / "a.heic", upright)
    whole = (tmp_path / "a.heic").read_bytes()
    for length in (40, len(whole) // 2, len(whole) - 20):
        (tmp_path / "a.heic").write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"a\.heic"):
            read_image(tmp_path / "a.heic")


def test_the_first_picture_of_mpo_is_read(tmp_path, upright):
    path = tmp_path / "a.mpo"
    other = Image.new("RGB", upright.size, "green")
    upright.save(path, "MPO", save_all=True, append_images=[other], quality=95)
    assert Image.open(path).format == "MPO"
    for source in (path, path.read_bytes(), Image.open(path)):
        read = read_image(source)
        assert np.abs(np.asarray(read, int) - np.asarray(upright, int)).mean() < 10
    assert read_image(path, min_size=(12, 8)).size[0] >= 12
    assert [found.name for found in find_images(tmp_path).files] == ["a.mpo"]


def test_a_later_picture_of_mpo_that_somebody_opened_is_not_read(upright):
    file = io.BytesIO()
    upright.save(file, "MPO", save_all=True, append_images=[Image.new("RGB", upright.size)])
    assert np.asarray(read_image(file.getvalue())).max() > 200
