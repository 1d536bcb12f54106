"""Photographs that were moved after a gallery was built."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from patchrerank.errors import GalleryError, ImageError
from patchrerank.gallery import Gallery, build_gallery
from patchrerank.images import list_images
from patchrerank.regions import GridPyramid


@pytest.fixture
def moved(tmp_path, photo_folder, tiny_encoder, quiet):
    """A gallery, and where its pictures went."""
    shutil.copytree(photo_folder, tmp_path / "photos")
    build_gallery(tmp_path / "g", tmp_path / "photos", tiny_encoder, GridPyramid(0), quiet)
    (tmp_path / "photos").rename(tmp_path / "pictures")
    return tmp_path / "g", tmp_path / "pictures"


def test_pictures_are_found_where_they_are_now(moved):
    folder, pictures = moved
    gallery = Gallery(folder, root=pictures)
    assert gallery.pictures[0] == pictures / gallery.ids[0]
    assert all(gallery.pictures[row].is_file() for row in range(len(gallery)))
    assert pickle.loads(pickle.dumps(gallery)).pictures[3] == gallery.pictures[3]
    with pytest.raises(ImageError, match=r"no such file \(row 0\).*--root FOLDER"):
        Gallery(folder).pictures[0]


def test_a_folder_that_does_not_hold_them_is_refused(moved, tmp_path):
    folder, pictures = moved
    with pytest.raises(GalleryError, match=r"is not where the pictures of .*01\.png: no such file"):
        Gallery(folder, root=tmp_path)
    Image.new("RGB", (5, 5)).save(pictures / "01.png")
    with pytest.raises(GalleryError, match=r"01\.png has 5 × 5 pixels"):
        Gallery(folder, root=pictures)


def test_new_pictures_are_appended_after_a_move(moved, tiny_encoder, quiet):
    folder, pictures = moved
    Image.new("RGB", (50, 40), "red").save(pictures / "new.png")
    more = replace(quiet, append=True)
    with pytest.raises(GalleryError, match="--root"):
        build_gallery(folder, pictures, tiny_encoder, GridPyramid(0), more)
    again = replace(more, root=pictures)
    gallery = build_gallery(folder, pictures, tiny_encoder, GridPyramid(0), again)
    assert len(gallery) == 41
    assert Gallery(folder).pictures[0].is_file(), "the new place is recorded"


def test_a_move_alone_is_recorded(moved, tiny_encoder, quiet):
    folder, pictures = moved
    with pytest.raises(GalleryError, match="--root"):
        build_gallery(folder, pictures, tiny_encoder, GridPyramid(0), quiet)
    there = replace(quiet, root=pictures)
    build_gallery(folder, pictures, tiny_encoder, GridPyramid(0), there)
    assert Gallery(folder).pictures[0].is_file()
    assert len(build_gallery(folder, pictures, tiny_encoder, GridPyramid(0), quiet)) == 40


def test_an_interrupted_build_goes_on_after_a_move(tmp_path, photo_folder, tiny_encoder, quiet):
    photos, pictures = tmp_path / "photos", tmp_path / "pictures"
    shutil.copytree(photo_folder, photos)
    (photos / "39.png").write_bytes(b"broken")
    with pytest.raises(Exception, match=r"39\.png"):
        build_gallery(tmp_path / "g", photos, tiny_encoder, GridPyramid(0), quiet)
    photos.rename(pictures)
    shutil.copy(photo_folder / "39.png", pictures / "39.png")
    there = replace(quiet, root=pictures)
    assert len(build_gallery(tmp_path / "g", pictures, tiny_encoder, GridPyramid(0), there)) == 40


def test_galleries_of_lists_of_absolute_paths(moved, tmp_path, tiny_encoder, quiet):
    _, pictures = moved
    files = list_images(pictures)
    gallery = build_gallery(tmp_path / "h", files, tiny_encoder, GridPyramid(0), quiet)
    pictures.rename(tmp_path / "archive")
    found = Gallery(tmp_path / "h", root=tmp_path / "archive")
    assert found.pictures[2] == tmp_path / "archive" / files[2].relative_to(pictures)
    more = replace(quiet, append=True, root=tmp_path / "archive")
    with pytest.raises(GalleryError, match="not relative to a folder"):
        build_gallery(tmp_path / "h", gallery.ids, tiny_encoder, GridPyramid(0), more)
