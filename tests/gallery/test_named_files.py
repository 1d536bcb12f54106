"""Galleries whose ids are no paths know where their pictures lie, once that is recorded."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from patchrerank.errors import GalleryError, ImageError
from patchrerank.gallery import (
    BuildOptions,
    CompressOptions,
    Gallery,
    build_gallery,
    compact,
    compress,
    derive_gallery,
    import_gallery,
    merge,
    record_files,
    remove,
    replace,
    verify,
)
from patchrerank.gallery.named_files import FILES
from patchrerank.images import list_images
from patchrerank.regions import GridPyramid

QUIET = BuildOptions(progress=False, backgrounds=4)


@pytest.fixture
def photos(tmp_path, photo_folder):
    """Files below a folder that may be moved, by id."""
    shutil.copytree(photo_folder, tmp_path / "photos")
    return {f"p{n}": path for n, path in enumerate(list_images(tmp_path / "photos"))}


@pytest.fixture
def gallery(tmp_path, photos, tiny_encoder):
    made = build_gallery(tmp_path / "g", list(photos.items()), tiny_encoder, "grid:1", QUIET)
    with pytest.raises(ImageError, match="p3: no such file"):
        made.pictures[3]
    record_files(made, photos, tmp_path / "photos")
    return Gallery(made.folder)


def where(gallery):
    return {str(gallery.ids[row]): gallery.pictures[row] for row in gallery.live.tolist()}


def test_each_is_found_and_nothing_else_changes(gallery, photos, tiny_encoder):
    assert where(gallery) == photos and verify(gallery) == []
    manifest = (gallery.folder / "manifest.json").read_bytes()
    again = build_gallery(
        gallery.folder, list(photos.items()), tiny_encoder, "grid:1", QUIET
    )  # is complete: nothing is encoded
    assert where(again) == photos
    assert (gallery.folder / "manifest.json").read_bytes() == manifest


def test_they_may_move(tmp_path, gallery, photos):
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(ImageError, match="--root"):
        gallery.pictures[0]
    found = where(Gallery(gallery.folder, root=tmp_path / "moved"))
    assert found == {
        name: tmp_path / "moved" / path.relative_to(tmp_path / "photos")
        for name, path in photos.items()
    }
    with pytest.raises(GalleryError, match="is not where the pictures"):
        Gallery(gallery.folder, root=tmp_path)


def test_an_id_that_the_gallery_lacks_is_refused_by_name(gallery, photos):
    held = (gallery.folder / FILES).read_bytes()
    for wrong in ({"p99": photos["p1"]}, {**photos, "P1": photos["p2"]}):
        with pytest.raises(GalleryError, match=f"1 of .* not in it.*'{list(wrong)[-1]}'"):
            record_files(gallery, wrong, gallery.folder)
    remove(gallery.folder, ["p1"])  # the open gallery still has it
    with pytest.raises(GalleryError, match="not in it, for example 'p1'"):
        record_files(gallery, {"p1": photos["p1"]}, gallery.folder)
    assert "p1" not in json.loads((gallery.folder / FILES).read_text())["files"]
    assert len(held) > len((gallery.folder / FILES).read_bytes())


def test_whole_numbers_are_named_as_text_or_as_they_are(tmp_path, photos):
    given, rows = list(photos.values())[:2], np.eye(2, 4, dtype=np.float32)
    made = import_gallery(tmp_path / "n", [7, 8], rows, encoder="somebody's", progress=False)
    record_files(made, {"7": given[0], 8: given[1]}, tmp_path)
    assert where(Gallery(made.folder)) == {"7": given[0], "8": given[1]}
    with pytest.raises(GalleryError, match="not in it, for example '01'"):
        record_files(made, {"01": given[1]}, tmp_path)


def test_what_is_made_of_it_knows_them_too(tmp_path, gallery, photos, tiny_encoder):
    compress(gallery, tmp_path / "c", CompressOptions("int8", progress=False))
    derive_gallery(gallery, tmp_path / "d", tiny_encoder, GridPyramid(1), progress=False)
    for made in ("c", "d"):
        assert where(Gallery(tmp_path / made)) == photos
    other = {f"q{name}": path for name, path in photos.items()}
    second = build_gallery(tmp_path / "h", list(other.items())[:9], tiny_encoder, "grid:1", QUIET)
    nine = dict(list(other.items())[:9])
    record_files(second, nine, tmp_path)
    both = dict(photos) | nine
    assert where(merge(tmp_path / "all", [gallery, second], progress=False)) == both
    assert where(merge(tmp_path / "one", [gallery, second], copy=True, progress=False)) == both
    with pytest.raises(GalleryError, match="knows where its pictures lie"):
        record_files(Gallery(tmp_path / "all"), both, tmp_path)


def test_an_id_that_goes_takes_its_file_with_it(gallery, photos, tiny_encoder):
    """What comes under its name may be another picture."""
    remove(gallery.folder, ["p1"])
    replace(gallery.folder, [("p2", photos["p5"])], tiny_encoder, "grid:1", QUIET)
    more = BuildOptions(progress=False, append=True)
    build_gallery(gallery.folder, [("p1", photos["p6"])], tiny_encoder, "grid:1", more)
    made = compact(gallery.folder)
    for name in ("p1", "p2"):
        with pytest.raises(ImageError, match="no such file"):
            made.pictures[int(made.rows_of([name])[0])]
    assert made.pictures[int(made.rows_of(["p3"])[0])] == photos["p3"]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"root": "/x", "files": {"p0": 3}}', '{"root": 1, "files": {}}']
)
def test_a_damaged_record_is_named(gallery, content):
    (gallery.folder / FILES).write_text(content)
    with pytest.raises(GalleryError, match=r"pictures\.json"):
        _ = Gallery(gallery.folder).pictures
