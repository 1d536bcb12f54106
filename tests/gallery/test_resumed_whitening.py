"""What a whitened build that is taken up again depends on: nothing of another one is mixed in."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from packed_pictures import encoded, sample, write_tar
from patchrerank.errors import GalleryError, ImageError
from patchrerank.gallery import BuildOptions, build_gallery, verify, whitening_sample
from patchrerank.images import list_images

WHITE = BuildOptions(progress=False, whiten=8)
CUT = 3
"""Chunks that are committed before a build is killed, of a sample of four."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr("patchrerank.gallery.builder.MIN_CHUNK", 5)
    monkeypatch.setattr("patchrerank.gallery.builder.CHUNK_CROPS", 1)
    monkeypatch.setattr(whitening_sample, "SAMPLE_IMAGES", 20)


def kill(monkeypatch, folder, images, encoder, options=WHITE, commits=CUT):
    """Build until so many chunks are committed, and end there."""
    plain, left = whitening_sample.GalleryWriter.commit, [commits]

    def commit(writer, *given):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        plain(writer, *given)

    with monkeypatch.context() as patch:
        patch.setattr(whitening_sample.GalleryWriter, "commit", commit)
        with pytest.raises(KeyboardInterrupt):
            build_gallery(folder, images, encoder, "grid:1", options)


def same(found, expected):
    assert verify(found) == [] and list(found.ids) == list(expected.ids)
    assert found.whitening.fingerprint == expected.whitening.fingerprint
    assert np.array_equal(found.patches, expected.patches)


def test_a_sample_of_other_pictures_under_the_same_names_is_begun_anew(
    tmp_path, photo_folder, tiny_encoder, monkeypatch
):
    files, other = list_images(photo_folder), tmp_path / "other"
    shutil.copytree(photo_folder, other)
    for path, turned in zip(files, files[::-1], strict=True):
        shutil.copy(turned, other / path.relative_to(photo_folder))
    expected = build_gallery(tmp_path / "whole", other, tiny_encoder, "grid:1", WHITE)
    kill(monkeypatch, tmp_path / "g", photo_folder, tiny_encoder)
    same(build_gallery(tmp_path / "g", other, tiny_encoder, "grid:1", WHITE), expected)
    assert not list((tmp_path / "g").glob("whitening.sample*"))


def test_so_is_one_of_other_shards(tmp_path, tiny_encoder, monkeypatch):
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    write_tar(first, [sample(number) for number in range(30)])
    write_tar(second, [sample(number + 30, place=number) for number in range(30)])
    expected = build_gallery(tmp_path / "whole", second, tiny_encoder, "grid:1", WHITE)
    kill(monkeypatch, tmp_path / "g", first, tiny_encoder)
    same(build_gallery(tmp_path / "g", second, tiny_encoder, "grid:1", WHITE), expected)


def test_so_is_one_of_another_column(tmp_path, tiny_encoder, monkeypatch):
    import pyarrow
    import pyarrow.parquet

    numbers = range(30)
    table = {
        "id": [f"{number:03d}" for number in numbers],
        "front": [encoded(number) for number in numbers],
        "back": [encoded(number + 30) for number in numbers],
    }
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    front, back = (replace(WHITE, image_column=name) for name in ("front", "back"))
    photos = tmp_path / "a.parquet"
    expected = build_gallery(tmp_path / "whole", photos, tiny_encoder, "grid:1", back)
    kill(monkeypatch, tmp_path / "g", photos, tiny_encoder, front)
    same(build_gallery(tmp_path / "g", photos, tiny_encoder, "grid:1", back), expected)


def test_the_whitening_of_another_gallery_than_then_is_refused(
    tmp_path, photo_folder, tiny_encoder, monkeypatch
):
    files = [(path.name, path) for path in list_images(photo_folder)]
    first, second = (
        build_gallery(tmp_path / name, part, tiny_encoder, "grid:1", WHITE).folder
        for name, part in (("a", files[:25]), ("b", files[15:]))
    )
    begun, now = (replace(WHITE, whiten=folder) for folder in (first, second))
    kill(monkeypatch, tmp_path / "g", files, tiny_encoder, begun)
    with pytest.raises(GalleryError, match=r"begun with another whitening than that of .*b; leave"):
        build_gallery(tmp_path / "g", files, tiny_encoder, "grid:1", now)
    expected = build_gallery(tmp_path / "whole", files, tiny_encoder, "grid:1", begun)
    same(build_gallery(tmp_path / "g", files, tiny_encoder, "grid:1", begun), expected)
    with pytest.raises(GalleryError, match="begun with another whitening than that of"):
        build_gallery(tmp_path / "g", files, tiny_encoder, "grid:1", replace(now, append=True))


def test_what_the_sample_skipped_stops_a_run_that_skips_nothing(
    tmp_path, photo_folder, tiny_encoder, monkeypatch
):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    files = [*list_images(photo_folder)[:15], broken]
    skip = replace(WHITE, on_error="skip")
    kill(monkeypatch, tmp_path / "g", files, tiny_encoder, skip, commits=5)
    with pytest.raises(ImageError, match=r"broken\.png"):
        build_gallery(tmp_path / "g", files, tiny_encoder, "grid:1", WHITE)
    made = build_gallery(tmp_path / "g", files, tiny_encoder, "grid:1", skip)
    assert [name for name, _ in made.manifest.skipped] == [str(broken)]
