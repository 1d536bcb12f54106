"""The demo's objects are whole, and occur in no background."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from later import later
from patchrerank.datasets.shipped_cutouts import CUTOUTS, Cutout
from patchrerank.datasets.shipped_photos import BACKGROUNDS, copy_shipped_photos
from patchrerank.errors import DatasetError
from shipped import copied_photos

later("skimage")
later("sklearn")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return copied_photos(tmp_path_factory.mktemp("photos"))


@pytest.mark.parametrize("name", [cutout.name for cutout in CUTOUTS])
def test_an_object_is_one_piece_that_fills_its_box(folders, name):
    solid = np.asarray(Image.open(folders[0] / f"{name}.png").getchannel("A")) >= 128
    assert ndimage.label(solid)[1] == 1
    assert 0.5 < solid.mean() < 1, "an object covers most of its box, and not its corners"
    edges = (solid[0], solid[-1], solid[:, 0], solid[:, -1])
    assert all(edge.any() for edge in edges), "the box is tight"
    assert min(solid.shape) >= 40


def test_a_coin_is_a_disc(folders):
    solid = np.asarray(Image.open(folders[0] / "coin1.png").getchannel("A")) >= 128
    assert solid.mean() == pytest.approx(np.pi / 4, abs=0.02)


def test_an_outline_is_followed():
    photo = Image.fromarray(np.arange(600, dtype=np.uint8).repeat(3).reshape(20, 30, 3))
    piece = Cutout("t", "t.png", "10,4 20,4 20,14 10,14").cut(photo)
    assert piece.size == (10, 10)
    np.testing.assert_array_equal(np.asarray(piece)[..., :3], np.asarray(photo)[4:14, 10:20])
    assert np.asarray(piece.getchannel("A")).min() > 0
    corner = np.asarray(Cutout("t", "t.png", "0,0 20,0 0,20").cut(photo).getchannel("A"))
    assert corner[0, 0] == 255 and corner[-1, -1] == 0


def test_a_smaller_photograph_of_that_name_is_refused():
    with pytest.raises(DatasetError, match=r"t\.png is 5 × 5 pixels, smaller than the one that x"):
        Cutout("x", "t.png", "0,0 9,0 9,9").cut(Image.new("RGB", (5, 5)))


def test_objects_and_backgrounds_are_of_different_photographs(folders):
    assert {cutout.photo for cutout in CUTOUTS}.isdisjoint(BACKGROUNDS)
    names = [cutout.name for cutout in CUTOUTS]
    assert len(set(names)) == len(names)
    assert {"cat", "cup", "coin1"} <= set(names)
    assert sorted(p.name for p in folders[1].iterdir()) == sorted(BACKGROUNDS)


def test_the_same_call_again_leaves_all_as_it_is(folders):
    before = {path: path.stat().st_mtime_ns for folder in folders for path in folder.iterdir()}
    copy_shipped_photos(folders[0].parent)
    assert {path: path.stat().st_mtime_ns for path in before} == before
