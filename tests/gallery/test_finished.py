"""An index command that is run again when all is done; folders that cannot be written to."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from patchrerank.errors import GalleryError
from patchrerank.gallery import Gallery, build_gallery, verify
from patchrerank.gallery.arrays import ArrayWriter
from patchrerank.gallery.finished import other_folder
from patchrerank.images import list_images
from patchrerank.regions import GridPyramid
from prepared import python


@pytest.fixture
def pairs(photo_folder):
    return [(path.name, path) for path in list_images(photo_folder)[:6]]


def state(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_complete_gallery_with_nothing_missing_is_done(tmp_path, tiny_encoder, pairs, quiet):
    made = build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(1), quiet)
    before = state(tmp_path / "g")
    again = build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(1), quiet)
    assert list(again.ids) == list(made.ids)
    assert state(tmp_path / "g") == before
    assert len(build_gallery(tmp_path / "g", pairs[2:], tiny_encoder, GridPyramid(1), quiet)) == 6


def test_a_complete_gallery_refuses_what_it_lacks(
    tmp_path, tiny_encoder, larger_encoder, pairs, quiet
):
    build_gallery(tmp_path / "g", pairs[:5], tiny_encoder, GridPyramid(1), quiet)
    with pytest.raises(GalleryError, match=f"complete, and {pairs[5][0]!r} is not in it.*--append"):
        build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(1), quiet)
    with pytest.raises(GalleryError, match="regions grid:1, now it is grid:2"):
        build_gallery(tmp_path / "g", pairs[:5], tiny_encoder, GridPyramid(2), quiet)
    with pytest.raises(GalleryError, match="16 × 16 then, 24 × 24 now"):
        build_gallery(tmp_path / "g", pairs[:5], larger_encoder, GridPyramid(1), quiet)
    int8 = replace(quiet, store="int8")
    with pytest.raises(GalleryError, match=r"store float32, now it is int8.*--store float32"):
        build_gallery(tmp_path / "g", pairs[:5], tiny_encoder, GridPyramid(1), int8)


def test_pictures_that_were_skipped_are_not_missing(tmp_path, tiny_encoder, pairs, quiet):
    (tmp_path / "bad.png").write_bytes(b"broken")
    given = [*pairs, ("bad", tmp_path / "bad.png")]
    skip = replace(quiet, on_error="skip")
    build_gallery(tmp_path / "g", given, tiny_encoder, GridPyramid(0), skip)
    assert len(build_gallery(tmp_path / "g", given, tiny_encoder, GridPyramid(0), skip)) == 6


def test_a_full_disk_is_named_with_what_is_kept(
    tmp_path, tiny_encoder, photo_folder, quiet, monkeypatch
):
    pairs = [(path.name, path) for path in list_images(photo_folder)]
    whole = build_gallery(tmp_path / "w", pairs, tiny_encoder, GridPyramid(1), quiet)
    flush = ArrayWriter.flush

    def full(writer, *, durable):
        with writer._named():
            if writer.path.name == "patches.bin" and writer.record.shape[0] > 16 * 5:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            flush(writer, durable=durable)

    monkeypatch.setattr(ArrayWriter, "flush", full)
    with pytest.raises(GalleryError) as caught:
        build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(1), quiet)
    said = str(caught.value)
    assert "patches.bin: cannot be written (No space left on device)" in said
    assert "the 16 images written before are kept" in said
    assert "make room on the disk and run it again" in said
    monkeypatch.undo()
    gallery = build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(1), quiet)
    assert verify(gallery) == []
    assert gallery.manifest.arrays == whole.manifest.arrays


LIMITED = """
import resource, sys
from pathlib import Path
import torch
from patchrerank.encoders import Preprocessing, load_encoder
from patchrerank.errors import GalleryError
from patchrerank.gallery import BuildOptions, build_gallery
from patchrerank.regions import GridPyramid
module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(8), torch.nn.Flatten())
how = Preprocessing((16, 16), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "area")
encoder = load_encoder(module, preprocessing=how, device="cpu", name="tiny")
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
photos, folder = sys.argv[1:]
try:
    build_gallery(folder, photos, encoder, GridPyramid(3), BuildOptions(progress=False))
except GalleryError as error:
    print(error)
"""


def test_a_file_that_may_not_grow_is_named(tmp_path, photo_folder):
    done = python("-c", LIMITED, photo_folder, tmp_path / "g")
    assert "patches.bin: cannot be written (File too large)" in done.stdout
    assert "run it again" in done.stdout
    assert done.stderr == ""


def test_a_folder_that_is_read_only_is_named(tmp_path, tiny_encoder, pairs, quiet, monkeypatch):
    build_gallery(tmp_path / "g", pairs[:5], tiny_encoder, GridPyramid(0), quiet)
    opened = Path.open

    def refuse(path, mode="r", *args, **more):
        if tmp_path in path.parents and set(mode) & set("wa+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, mode, *args, **more)

    monkeypatch.setattr(Path, "open", refuse)
    more = replace(quiet, append=True)
    with pytest.raises(GalleryError, match=r"build\.lock: cannot be written \(Read-only.*writable"):
        build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(0), more)
    assert len(Gallery(tmp_path / "g")) == 5


def test_ids_of_no_folder_are_not_said_to_be_of_one_that_moved(tmp_path):
    told = other_folder(tmp_path, None, "photos")
    assert "None" not in told and "moved" not in told and "(id, image) pairs" in told
