"""Joined galleries find their pictures where those that they were made of did, and backgrounds."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from drawings import photo as draw_photo
from packed_pictures import encoded, write_parquet, write_shards
from patchrerank.gallery import (
    BuildOptions,
    Gallery,
    build_gallery,
    compact,
    merge,
    remove,
    verify,
    write_backgrounds,
)
from patchrerank.gallery.backgrounds import BACKGROUNDS
from patchrerank.regions import GridPyramid

QUIET = BuildOptions(progress=False, backgrounds=0)


def packed(tmp_path, name, kind, first, counts, encoder):
    """Build a gallery of pictures in tar shards, or Parquet files, in a folder of their own."""
    files = tmp_path / f"files-{name}"
    if kind == "tar":
        write_shards(tmp_path / "all", [first, *counts])
        files.mkdir()
        for number in range(1, len(counts) + 1):
            shutil.move(tmp_path / f"all/{number:05d}.tar", files)
        shutil.rmtree(tmp_path / "all")
    else:
        pytest.importorskip("pyarrow")
        files.mkdir()
        for number, count in enumerate(counts):
            start = first + sum(counts[:number])
            rows = [(f"{n:09d}", encoded(n)) for n in range(start, start + count)]
            write_parquet(files / f"{number}.parquet", rows)
    return build_gallery(tmp_path / name, files, encoder, GridPyramid(0), QUIET)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_copy_knows_where_pictures_lie_in_other_files(tmp_path, kind, tiny_encoder):
    parts = [
        packed(tmp_path, "a", kind, 0, [4, 3], tiny_encoder),
        packed(tmp_path, "b", kind, 7, [2, 5], tiny_encoder),
    ]
    remove(parts[0].folder, [parts[0].ids[1]])
    parts[0] = Gallery(parts[0].folder)
    wanted = {one.ids[row]: one.pictures[row] for one in parts for row in one.live}
    joined = merge(tmp_path / "one", parts, copy=True, progress=False)
    for part in ("a", "b"):
        shutil.rmtree(tmp_path / part)
    assert {joined.ids[row]: joined.pictures[row] for row in joined.live} == wanted
    assert len(joined) == 13 and verify(joined) == []
    assert len(joined.manifest.pictures.files) == 4 and joined.manifest.root == str(tmp_path)
    (tmp_path / "moved").mkdir()
    for name in ("files-a", "files-b"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    moved = Gallery(joined.folder, root=tmp_path / "moved")
    assert moved.pictures[12] == wanted[moved.ids[12]]
    again = merge(tmp_path / "two", [joined], copy=True, progress=False)
    assert again.manifest.arrays == joined.manifest.arrays


def test_files_that_two_galleries_share_are_named_once(tmp_path, tiny_encoder):
    whole = packed(tmp_path, "a", "tar", 0, [4, 3], tiny_encoder)
    for name, gone in (("b", slice(0, 4)), ("c", slice(4, 7))):
        shutil.copytree(whole.folder, tmp_path / name)
        remove(tmp_path / name, whole.ids.at(np.arange(7)[gone]))
        compact(tmp_path / name)
    joined = merge(tmp_path / "one", [tmp_path / "b", tmp_path / "c"], copy=True, progress=False)
    assert joined.manifest.pictures == whole.manifest.pictures
    assert joined.manifest.root == whole.manifest.root and verify(joined) == []


def test_files_of_two_kinds_cannot_be_one_and_are_warned_of(tmp_path, tiny_encoder, caplog):
    parts = [
        packed(tmp_path, "a", "tar", 0, [4], tiny_encoder),
        packed(tmp_path, "b", "parquet", 4, [3], tiny_encoder),
    ]
    joined = merge(tmp_path / "one", parts, copy=True, progress=False)
    assert "its pictures lie in other files" in caplog.text
    assert joined.manifest.pictures is None and verify(joined) == []


@pytest.fixture
def parts(tmp_path, tiny_encoder):
    """Three galleries: of 50 backgrounds, of 30, and of none."""
    for part, (name, count) in enumerate((("a", 50), ("b", 30), ("c", 0))):
        (tmp_path / f"photos-{name}").mkdir()
        for number in range(5):
            draw_photo(10 * part + number, 80, 60).save(
                tmp_path / f"photos-{name}/{name}{number}.png"
            )
        how = BuildOptions(progress=False, backgrounds=count)
        photos = tmp_path / f"photos-{name}"
        build_gallery(tmp_path / name, photos, tiny_encoder, GridPyramid(0), how)
    return [tmp_path / name for name in "abc"]


@pytest.mark.parametrize("copy", [False, True])
def test_backgrounds_are_those_of_all(tmp_path, parts, copy):
    gone = "a3.png"
    remove(parts[0], [gone])
    joined = merge(tmp_path / "all", parts, copy=copy, progress=False)
    held = [Gallery(part).backgrounds for part in parts[:2]]
    known = {jpeg for bank in held for jpeg in bank.jpegs}
    found = joined.backgrounds
    assert len(found) == 64 and set(found.jpegs) <= known and gone not in found.ids
    share = sum(name.startswith("a") for name in found.ids) / 64
    assert abs(share - len(held[0]) / len(known)) < 0.05
    assert verify(joined) == []
    again = merge(tmp_path / "again", parts, copy=copy, progress=False)
    assert (again.folder / BACKGROUNDS).read_bytes() == (joined.folder / BACKGROUNDS).read_bytes()


def test_backgrounds_follow_what_is_added_and_removed(tmp_path, parts):
    joined = merge(tmp_path / "all", parts[1:], progress=False)
    assert len(joined.backgrounds) == 30
    more = merge(tmp_path / "all", parts[:1], append=True, progress=False)
    assert len(more.backgrounds) == 64 and verify(more) == []
    kept = (more.folder / BACKGROUNDS).read_bytes()
    merge(tmp_path / "all", parts, append=True, progress=False)
    assert (more.folder / BACKGROUNDS).read_bytes() == kept
    remove(parts[0], ["a0.png", "a1.png"])
    after = merge(tmp_path / "all", [], append=True, progress=False)
    assert not {"a0.png", "a1.png"} & set(after.backgrounds.ids) and verify(after) == []
    left = set(after.backgrounds.ids)
    remove(after.folder, left)
    assert not Gallery(after.folder).has_backgrounds


def test_crops_of_pictures_that_shards_do_not_hold_are_named(tmp_path, parts):
    joined = merge(tmp_path / "all", parts, progress=False)
    shutil.copy(parts[0] / BACKGROUNDS, tmp_path / "kept")
    remove(joined.folder, ["a0.png"])
    shutil.copy(tmp_path / "kept", joined.folder / BACKGROUNDS)
    assert any(
        "'a0.png', which the gallery does not hold" in one for one in verify(Gallery(joined.folder))
    )
    write_backgrounds(Gallery(joined.folder))
    assert verify(Gallery(joined.folder)) == []
