"""LanceDB tables: columns by name or type, ragged lists, versions, deleted rows."""

from __future__ import annotations

import sys
from uuid import UUID

import numpy as np
import pytest

from later import later
from patchrerank.errors import GalleryError, MissingExtraError, SettingError
from patchrerank.gallery import import_gallery, read_vectors

pa = pytest.importorskip("pyarrow")
lancedb = later("lancedb")

D = 8
COUNTS = np.arange(60) % 4


def unit(count, kind, seed=0):
    drawn = np.random.default_rng(seed).standard_normal((count, D))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(kind)


def fixed(rows):
    flat = pa.array(np.ascontiguousarray(rows).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])


def table(kind=np.float16, **changes):
    ends = np.concatenate([[0], np.cumsum(COUNTS)])
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), fixed(unit(ends[-1], kind, 1)))
    held = {"sku": [f"p{n}" for n in range(60)], "vector": fixed(unit(60, kind)), "crops": lists}
    return pa.table({**held, "price": pa.array(np.arange(60.0)), **changes})


def made(tmp_path, content, parts=3):
    opened = lancedb.connect(tmp_path / "db")
    step = -(-len(content) // parts)
    held = opened.create_table("t", content.slice(0, step))
    for start in range(step, len(content), step):
        held.add(content.slice(start, step))
    return held, tmp_path / "db" / "t.lance"


def taken(found, folder, **changes):
    how = {"encoder": "x", "store": "float32", "progress": False, **changes}
    return import_gallery(folder, **vars(found) | how)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_columns_are_found_by_their_types(tmp_path, kind):
    _, path = made(tmp_path, table(kind))
    gallery = taken(read_vectors(path), tmp_path / "g")
    assert list(gallery.ids) == [f"p{n}" for n in range(60)]
    np.testing.assert_array_equal(gallery.global_vectors, unit(60, kind).astype(np.float32))
    wanted = unit(COUNTS.sum(), kind, 1).astype(np.float32)
    np.testing.assert_array_equal(gallery.patches, wanted)
    np.testing.assert_array_equal(gallery.patch_ends, np.cumsum(COUNTS))


def test_deleted_rows_are_left_out_and_older_versions_have_them(tmp_path, monkeypatch):
    monkeypatch.setattr("patchrerank.gallery.lance_table.WINDOW", 2)
    monkeypatch.setattr("patchrerank.gallery.arrow_vectors.BLOCK_BYTES", 100)
    monkeypatch.setattr("patchrerank.gallery.arrow_vectors.IDS_AT_ONCE", 7)
    held, path = made(tmp_path, table())
    before = held.version
    held.delete("price % 5 = 3")
    kept = np.arange(60) % 5 != 3
    gallery = taken(read_vectors(path), tmp_path / "g")
    assert list(gallery.ids) == [f"p{n}" for n in np.flatnonzero(kept)]
    np.testing.assert_array_equal(gallery.global_vectors, unit(60, np.float16)[kept])
    rows = np.repeat(kept, COUNTS)
    np.testing.assert_array_equal(gallery.patches, unit(len(rows), np.float16, 1)[rows])
    assert len(taken(read_vectors(path, version=before), tmp_path / "h").ids) == 60


def test_a_table_that_changes_meanwhile(tmp_path):
    held, path = made(tmp_path, table())
    found = read_vectors(path)
    held.delete("price < 30")
    held.add(table().slice(0, 5))
    assert len(taken(found, tmp_path / "g")) == 60


def test_named_columns_numbers_uuids_and_rows_without_patches(tmp_path):
    uuids = [UUID(int=n) for n in range(60)]
    content = table(
        number=pa.array(np.arange(60)),
        uuid=pa.array([item.bytes for item in uuids], pa.binary(16)),
        other=fixed(unit(60, np.float32, 2)),
    )
    _, path = made(tmp_path, content)
    for message, columns in (
        ("which column has the ids, 'sku' or 'number' or 'uuid'", {}),
        ("which column has the globals, 'vector' or 'other'", {"ids": "sku"}),
        ("holds no column 'skus'; it has sku", {"ids": "skus"}),
        ("the column 'price' is double; use text", {"ids": "price", "globals": "other"}),
        ("the column 'crops' is list", {"ids": "sku", "globals": "crops"}),
    ):
        with pytest.raises(GalleryError, match=message):
            read_vectors(path, columns)
    with pytest.raises(SettingError, match="column 'global' is unknown; did you mean globals"):
        read_vectors(path, {"global": "vector"})
    for kind, ids in (("number", list(range(60))), ("uuid", uuids)):
        found = read_vectors(path, {"ids": kind, "globals": "other"})
        gallery = taken(found, tmp_path / kind)
        assert list(gallery.ids) == ids
        np.testing.assert_array_equal(gallery.global_vectors, unit(60, np.float32, 2))
    rows = [None if n % 2 else [unit(1, np.float32, n)[0].tolist()] for n in range(60)]
    lists = pa.array(rows, pa.list_(pa.list_(pa.float32(), D)))
    _, path = made(tmp_path / "null", table(crops=lists))
    gallery = taken(read_vectors(path), tmp_path / "few")
    np.testing.assert_array_equal(np.diff(gallery.patch_ends, prepend=0), np.arange(1, 61) % 2)


def test_what_is_wrong_is_one_sentence_and_nothing_is_written(tmp_path):
    _, path = made(tmp_path, table(vector=fixed(2 * unit(60, np.float32))))
    with pytest.raises(GalleryError, match=r"row 0, of 'p0', has the norm 2 .*normalise=True"):
        taken(read_vectors(path), tmp_path / "g")
    broken = unit(60, np.float32)
    broken[7] = np.nan
    _, path = made(tmp_path / "nan", table(v=fixed(broken)))
    with pytest.raises(GalleryError, match="row 7, of 'p7', holds NaN"):
        taken(read_vectors(path, {"globals": "v"}), tmp_path / "g")
    _, path = made(tmp_path / "twice", table(sku=["a"] * 60))
    with pytest.raises(GalleryError, match="'a' stands twice"):
        taken(read_vectors(path), tmp_path / "g")
    with pytest.raises(GalleryError, match="Version 9"):
        read_vectors(path, version=9)
    for nothing in (tmp_path / "db", tmp_path / "absent.lance"):
        with pytest.raises(
            GalleryError,
            match=r"no LanceDB table|there is no such folder|is no folder with|holds no ids",
        ):
            read_vectors(nothing)
    assert not (tmp_path / "absent.lance").exists() and not (tmp_path / "g").exists()


def test_without_lancedb_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(MissingExtraError, match=r"patchrerank\[lancedb\]"):
        read_vectors(tmp_path / "t.lance")
