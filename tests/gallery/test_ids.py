"""Ids of every kind come back as they came; the table beside them is renewed, never believed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from patchrerank.errors import GalleryError, ShortlistError
from patchrerank.gallery import (
    Gallery,
    build_gallery,
    id_lookup,
    id_table,
    manifest_reading,
    verify,
)
from patchrerank.gallery import gallery as gallery_module
from patchrerank.gallery.build_options import BuildOptions
from patchrerank.gallery.id_types import ID_TYPES
from patchrerank.gallery.ids import Ids
from patchrerank.images import list_images
from patchrerank.regions import GridPyramid

KINDS = {
    "text": ["a", "Zoë.jpg", "a\0b", "\U0001f600", "x" * 3000, "10"],
    "int": [0, 7, -1, 2**63 - 1, -(2**63), 10**9],
    "uuid": [UUID(int=number) for number in (0, 1, 2**128 - 1, 2**64)],
}


def ids_of(kind, items):
    raw, stops, gap = ID_TYPES[kind].packed(items)
    blob = np.frombuffer(raw, dtype=np.uint8)
    if gap:  # stored without
        blob, stops = np.delete(blob, stops), stops - np.arange(len(stops))
    return Ids(Path("g"), blob, stops, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_come_back_as_they_came(kind):
    items = KINDS[kind]
    ids = ids_of(kind, items)
    ids.check()
    assert list(ids) == items and ids[1:3] == items[1:3] and ids[-1] == items[-1]
    assert [type(item) for item in ids] == [ID_TYPES[kind].kind] * len(items)
    assert ids.rows_of(items[::-1]).tolist() == list(range(len(items)))[::-1]
    assert items[2] in ids and "absent" not in ids and 12345 not in ids
    assert ids.rows_of([]).shape == (0,)


def test_numpy_numbers_are_whole_numbers_too():
    ids = ids_of("int", [5, 6])
    for given in (np.array([6, 5]), np.array([6, 5], np.uint8), [np.int32(6), 5]):
        assert ids.rows_of(given).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("text", ["a", 3], r"id 3 is a int \(position 1\); the gallery's ids are text"),
        ("int", [5, "5"], r"id '5' is a str \(position 1\); the gallery's ids are whole numbers"),
        ("int", [5, True], "id True is a bool"),
        ("int", [5, 1.0], "id 1.0 is a float"),
        ("int", [2**63, "5"], r"id '5' is a str \(position 1\)"),
        ("uuid", ["a"], "the gallery's ids are UUIDs"),
    ],
)
def test_ids_of_another_kind_are_refused(kind, given, message):
    with pytest.raises(ShortlistError, match=message):
        ids_of(kind, KINDS[kind]).rows_of(given)


BEYOND = [2**63, -(2**63) - 1, 10**400, np.uint64(2**64 - 1)]


def test_a_number_of_more_than_64_bits_is_not_held_and_no_other_kind():
    ids = ids_of("int", [5, -(2**63)])
    for item in BEYOND:
        assert ids.rows_of([5, item, -(2**63)]).tolist() == [0, -1, 1]
        assert ids.rows_of([item]).tolist() == [-1] and item not in ids
    assert ids.rows_of(np.array([2**64 - 1, 5], np.uint64)).tolist() == [-1, 0]
    assert ids.kind.read([str(2**64)]) == [2**64]
    with pytest.raises(ShortlistError, match=r"id 9223372036854775808 has more than 64 bits"):
        ID_TYPES["int"].packed([1, 2**63])


def test_text_and_uuids_that_no_gallery_holds_are_missing_likewise():
    odd = ["", "\ud800", "a\0b\0", "x" * 100_000]
    assert ids_of("text", KINDS["text"]).rows_of([*odd, "a"]).tolist() == [-1] * 4 + [0]
    assert ids_of("uuid", KINDS["uuid"]).rows_of([UUID(int=9)]).tolist() == [-1]


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.setattr(id_table, "TABLE_FROM", 1)


def test_an_append_writes_a_table_of_its_own(tmp_path, tiny_encoder, photo_folder, quiet, tables):
    pairs = [(path.name, path) for path in list_images(photo_folder)[:6]]
    before = build_gallery(tmp_path / "g", pairs[:3], tiny_encoder, GridPyramid(0), quiet)
    assert (tmp_path / "g/id_table.bin").is_file() and verify(before) == []
    more = BuildOptions(progress=False, append=True)
    after = build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(0), more)
    assert after.rows_of([name for name, _ in pairs]).tolist() == [0, 1, 2, 3, 4, 5]
    assert before.rows_of([name for name, _ in pairs[:3]]).tolist() == [0, 1, 2]  # still open
    with pytest.raises(ShortlistError, match="1 of 1 ids are not in the gallery"):
        before.rows_of([pairs[4][0]])
    names = sorted(path.name for path in (tmp_path / "g").glob("id_table*"))
    assert names == ["id_table.1.bin"] and verify(after) == []


def test_a_damaged_table_is_told_apart_from_an_unknown_id(
    tmp_path, tiny_encoder, photo_folder, quiet, tables
):
    pairs = [(path.name, path) for path in list_images(photo_folder)[:4]]
    build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(0), quiet)
    file = tmp_path / "g/id_table.bin"
    file.write_bytes(bytes(file.stat().st_size))
    gallery = Gallery(tmp_path / "g")
    with pytest.raises(GalleryError, match=r"id_table\.bin: checksum differs"):
        gallery.rows_of([pairs[0][0]])
    assert any("id_table" in sentence for sentence in verify(gallery))


def test_large_galleries_are_not_read_whole_before_the_first_id(
    tmp_path, tiny_encoder, photo_folder, quiet, tables, monkeypatch
):
    pairs = [(path.name, path) for path in list_images(photo_folder)[:4]]
    build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(0), quiet)
    for module in (gallery_module, id_lookup):
        monkeypatch.setattr(module, "READ_WHOLE", 0)
    gallery = Gallery(tmp_path / "g")
    read = []
    monkeypatch.setattr(Gallery, "sound_array", lambda self, name: read.append(name))
    assert gallery.rows_of([pairs[2][0]]).tolist() == [2] and gallery.ids[3] == pairs[3][0]
    assert len(gallery.patch_ends) == 4 and read == []


def test_galleries_of_before_there_were_generations_open(tmp_path, tiny_gallery):
    shutil.copytree(tiny_gallery.folder, tmp_path / "g")
    manifest = json.loads((tmp_path / "g/manifest.json").read_text())
    del manifest["id_type"]
    for record in manifest["arrays"].values():
        del record["generation"]
    (tmp_path / "g/manifest.json").write_text(json.dumps(manifest))
    assert list(Gallery(tmp_path / "g").ids) == list(tiny_gallery.ids)


def test_a_table_that_is_renewed_while_a_gallery_is_opened(
    tmp_path, tiny_encoder, photo_folder, quiet, tables, monkeypatch
):
    pairs = [(path.name, path) for path in list_images(photo_folder)[:4]]
    build_gallery(tmp_path / "g", pairs[:3], tiny_encoder, GridPyramid(0), quiet)
    read, more = manifest_reading.read_manifest, BuildOptions(progress=False, append=True)

    def read_and_append(path):
        found = read(path)
        monkeypatch.setattr(gallery_module, "read_manifest", read)
        build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(0), more)
        return found

    monkeypatch.setattr(gallery_module, "read_manifest", read_and_append)
    assert len(Gallery(tmp_path / "g")) == 4
    (tmp_path / "g/id_table.1.bin").unlink()
    with pytest.raises(GalleryError, match=r"id_table\.1\.bin: is missing"):
        Gallery(tmp_path / "g")
