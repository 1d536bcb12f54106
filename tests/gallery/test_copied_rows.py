"""Vectors that a gallery holds as they are: copied by the system, and checked in the copy."""

from __future__ import annotations

import errno
import os
import sys

import numpy as np
import pytest

from patchrerank.errors import GalleryError
from patchrerank.gallery import copied_rows, import_gallery, row_sources, verify

IMAGES, PATCHES, DIM = 300, 5, 16
linux = pytest.mark.skipif(sys.platform != "linux", reason="no copying by the system")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Many pieces, which are copied a little ahead of what is read."""
    monkeypatch.setattr(copied_rows, "PIECE", 1 << 10)
    monkeypatch.setattr(copied_rows, "AHEAD", 1 << 12)
    monkeypatch.setattr(row_sources, "BLOCK_BYTES", 3000)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((IMAGES, PATCHES, DIM))
    drawn /= np.linalg.norm(drawn, axis=-1, keepdims=True)
    return drawn[:, 0].astype(np.float32), drawn.astype(np.float16)


def given(folder, arrays, write=np.save):
    """Write both arrays, and return how they are imported."""
    for name, values in zip(("globals", "patches"), arrays, strict=True):
        write(folder / f"{name}.npy", values)
    paths = [folder / "globals.npy", folder / "patches.npy"]
    return {"global_vectors": paths[0], "patches": paths[1], "encoder": "x", "progress": False}


def made(folder, arrays, **settings):
    return import_gallery(folder, np.arange(IMAGES), **given(folder.parent, arrays), **settings)


@linux
def test_the_copy_is_what_writing_block_by_block_gives(tmp_path, arrays, monkeypatch):
    copies = []
    copy = os.copy_file_range
    monkeypatch.setattr(os, "copy_file_range", lambda *all: copies.append(all) or copy(*all))
    fast = made(tmp_path / "fast", arrays)
    assert len(copies) > 40, "both arrays, piece by piece"
    whole, patches = arrays
    plain = import_gallery(
        tmp_path / "plain", np.arange(IMAGES), whole, patches, encoder="x", progress=False
    )
    assert fast.manifest == plain.manifest and verify(fast) == []
    for name in fast.manifest.arrays:
        np.testing.assert_array_equal(fast.array(name), plain.array(name))


@pytest.mark.parametrize("number", [errno.EXDEV, errno.ENOSYS])
def test_a_system_that_cannot_copy_has_them_written(tmp_path, arrays, monkeypatch, number):
    def refuse(*all):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    gallery = made(tmp_path / "g", arrays)
    np.testing.assert_array_equal(gallery.patches, arrays[1].reshape(-1, DIM))
    assert verify(gallery) == []


@linux
@pytest.mark.parametrize(
    ("settings", "written"),
    [
        ({"store": "float32"}, 1),
        ({"store": "int8"}, 1),
        ({"normalise": True}, 0),
        ({"counts": np.arange(IMAGES) % PATCHES}, 1),
        ({"counts": PATCHES}, 2),
    ],
)
def test_only_what_stays_as_it_is_is_copied(tmp_path, arrays, monkeypatch, settings, written):
    begun, begin = [], copied_rows.CopiedRows.begin
    monkeypatch.setattr(
        copied_rows.CopiedRows, "begin", lambda self: begun.append(self.name) or begin(self)
    )
    assert verify(made(tmp_path / "g", arrays, **settings)) == []
    assert len(begun) == written


@linux
@pytest.mark.parametrize("row", [0, 777, IMAGES * PATCHES - 1])
@pytest.mark.parametrize(("value", "sentence"), [(np.nan, "NaN or inf"), (3, "has the norm")])
def test_a_bad_vector_is_refused_and_nothing_stays(tmp_path, arrays, row, value, sentence):
    arrays[1].reshape(-1, DIM)[row, 3] = value
    where = rf"patches .*: row {row}, of {row // PATCHES}, .*{sentence}"
    with pytest.raises(GalleryError, match=where):
        made(tmp_path / "g", arrays)
    assert not (tmp_path / "g").exists()


@linux
def test_an_id_that_stands_twice_is_refused_while_vectors_are_copied(tmp_path, arrays):
    ids = np.arange(IMAGES) % (IMAGES - 1)
    with pytest.raises(GalleryError, match="0 stands twice, the second time at position 299"):
        import_gallery(tmp_path / "g", ids, **given(tmp_path, arrays))
    assert not (tmp_path / "g").exists()


@linux
def test_a_file_that_shrinks_meanwhile_and_a_full_disk(tmp_path, arrays, monkeypatch):
    copy, left = os.copy_file_range, iter(range(8))
    monkeypatch.setattr(
        os, "copy_file_range", lambda *all: copy(*all) if next(left, None) is not None else 0
    )
    with pytest.raises(GalleryError, match=r"patches\.npy\): cannot be read \(.*ends too early"):
        made(tmp_path / "g", (arrays[0].astype(np.float64), arrays[1]))
    assert not (tmp_path / "g").exists()

    def full(*all):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(GalleryError, match=r"patches\.bin: cannot be written \(No space left"):
        made(tmp_path / "g", (arrays[0].astype(np.float64), arrays[1]))
    assert not (tmp_path / "g").exists()
