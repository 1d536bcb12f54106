"""Backgrounds kept with a gallery."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery import (
    BuildOptions,
    CompressOptions,
    Gallery,
    build_gallery,
    compress,
    remove,
    replace,
    verify,
    write_backgrounds,
)
from patchrerank.gallery.backgrounds import BACKGROUNDS, Backgrounds
from patchrerank.regions import GridPyramid
from product_photos import scene


@pytest.fixture
def gallery(tiny_gallery, tmp_path):
    shutil.copytree(tiny_gallery.folder, tmp_path / "g")
    return Gallery(tmp_path / "g")


def test_a_built_gallery_keeps_crops_of_its_pictures(tiny_gallery):
    kept = tiny_gallery.backgrounds
    assert kept.crops.shape == (64, 16, 16, 3) and len(kept) == len(kept.ids) == 64
    assert set(kept.ids) <= set(tiny_gallery.ids)
    assert verify(tiny_gallery) == []


def test_the_same_pictures_give_the_same_bytes(gallery):
    first = (gallery.folder / BACKGROUNDS).read_bytes()
    assert (write_backgrounds(gallery).folder / BACKGROUNDS).read_bytes() == first
    other = write_backgrounds(gallery, seed=1, count=5)
    assert len(other.backgrounds) == 5
    assert (gallery.folder / BACKGROUNDS).read_bytes() != first


def test_plain_crops_come_last(gallery):
    plain = [Image.new("RGB", (40, 40), "white")] * 30
    made = write_backgrounds(gallery, [*plain, *map(scene, range(4))], count=4)
    assert (made.backgrounds.crops.std(axis=(1, 2)).mean(axis=1) > 0).all()
    assert made.backgrounds.ids == ("",) * 4
    assert len(write_backgrounds(gallery, plain, count=4).backgrounds) == 4


def test_pictures_that_are_gone_are_said_with_the_command(gallery, tmp_path):
    shutil.move(gallery.folder / BACKGROUNDS, tmp_path / "old.npz")
    with pytest.raises(GalleryError, match="patchrerank backgrounds"):
        _ = Gallery(gallery.folder).backgrounds
    with pytest.raises(GalleryError, match="none of its pictures can be read"):
        write_backgrounds(gallery, {"x": scene(0)})
    assert not gallery.has_backgrounds
    with pytest.raises(SettingError, match="count"):
        write_backgrounds(gallery, count=0)


def test_pairs_in_memory_and_none_at_all(tmp_path, tiny_encoder):
    pairs = [(f"p{number}", scene(number)) for number in range(6)]
    how = BuildOptions(progress=False)
    made = build_gallery(tmp_path / "pairs", pairs, tiny_encoder, GridPyramid(1), how)
    assert set(made.backgrounds.ids) <= {name for name, _ in pairs}
    once = build_gallery(tmp_path / "once", iter(pairs), tiny_encoder, GridPyramid(1), how)
    assert not once.has_backgrounds
    none = BuildOptions(progress=False, backgrounds=0)
    assert not build_gallery(
        tmp_path / "none", pairs, tiny_encoder, GridPyramid(1), none
    ).has_backgrounds
    with pytest.raises(SettingError, match="backgrounds"):
        BuildOptions(backgrounds=-1)


def test_a_compressed_copy_keeps_them(tiny_gallery, tmp_path):
    compress(tiny_gallery, tmp_path / "small", CompressOptions(progress=False))
    copy = Gallery(tmp_path / "small").backgrounds
    assert (copy.crops == tiny_gallery.backgrounds.crops).all()


def test_damage_is_found(gallery):
    path = gallery.folder / BACKGROUNDS
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert any(BACKGROUNDS in problem for problem in verify(Gallery(gallery.folder)))
    with pytest.raises(GalleryError, match=BACKGROUNDS):
        _ = Gallery(gallery.folder).backgrounds
    path.write_bytes(b"")
    assert any(BACKGROUNDS in problem for problem in verify(Gallery(gallery.folder)))


def test_crops_of_pictures_that_are_gone_and_broken_ones_are_told(gallery):
    kept = gallery.backgrounds
    Backgrounds(kept.jpegs[:2], ("elsewhere.png", "")).save(gallery.folder / BACKGROUNDS)
    (problem,) = verify(Gallery(gallery.folder))
    assert "crop 0 is of 'elsewhere.png'" in problem and "patchrerank backgrounds" in problem
    Backgrounds((b"no picture",), ("",)).save(gallery.folder / BACKGROUNDS)
    (problem,) = verify(Gallery(gallery.folder))
    assert "cannot be decoded" in problem


@pytest.mark.parametrize(
    "columns",
    [
        {"jpegs": np.zeros(3, np.uint8)},
        {"jpegs": np.zeros(3, np.uint8), "ends": np.array([2]), "ids": np.array([""])},
        {"jpegs": np.zeros(3, np.uint8), "ends": np.array([3, 2]), "ids": np.array(["", ""])},
        {"jpegs": np.zeros(0, np.uint8), "ends": np.zeros(0, int), "ids": np.zeros(0, "U1")},
        {"jpegs": np.zeros(3, np.uint8), "ends": np.array(3), "ids": np.array("a")},
    ],
)
def test_files_of_others_are_refused(gallery, columns):
    np.savez(gallery.folder / BACKGROUNDS, **columns)
    with pytest.raises(GalleryError, match="holds no backgrounds"):
        _ = Gallery(gallery.folder).backgrounds


def test_crops_of_removed_pictures_are_deleted_at_once(gallery):
    gone = gallery.backgrounds.ids[0]
    left = remove(gallery.folder, [gone])
    assert gone not in left.backgrounds.ids and len(left.backgrounds) > 0
    assert gone not in write_backgrounds(left).backgrounds.ids
    assert verify(left) == []
    every = [left.ids[row] for row in left.live]
    assert not remove(gallery.folder, every).has_backgrounds


def test_crops_of_replaced_pictures_are_deleted_at_once(tmp_path, tiny_encoder):
    pictures = tmp_path / "photos"
    pictures.mkdir()
    for number in range(4):
        scene(number).save(pictures / f"{number}.png")
    how = BuildOptions(progress=False)
    made = build_gallery(tmp_path / "g", pictures, tiny_encoder, GridPyramid(1), how)
    assert "1.png" in made.backgrounds.ids and "2.png" in made.backgrounds.ids
    new = [("1.png", scene(30))]
    left = replace(tmp_path / "g", new, tiny_encoder, GridPyramid(1), how)
    assert "1.png" not in left.backgrounds.ids and "2.png" in left.backgrounds.ids


def test_those_that_were_resized_travel_to_other_processes(gallery):
    crops = gallery.backgrounds
    wanted = crops.sized((20, 24))
    assert crops.sized((20, 24)) is wanted and wanted.shape[1:] == (20, 24, 3)
    again = pickle.loads(pickle.dumps(crops))
    np.testing.assert_array_equal(again.sized((20, 24)), wanted)
    assert again.jpegs == crops.jpegs
