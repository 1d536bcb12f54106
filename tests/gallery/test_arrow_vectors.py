"""Parquet and Arrow files of every form; a column of another type is named."""

from __future__ import annotations

import sys
from uuid import UUID

import numpy as np
import pytest

from drawn_galleries import draw_gallery
from patchrerank.errors import GalleryError, MissingExtraError
from patchrerank.gallery import Gallery, export_gallery, import_gallery
from patchrerank.gallery.vector_files import read_vectors

COUNTS = [2, 0, 3]
UNIT = np.eye(4, dtype=np.float32)


@pytest.fixture
def pa():
    pytest.importorskip("pyarrow.parquet")
    import pyarrow

    return pyarrow


def lists(kind, pa, fixed, width=4):
    number = {"float16": pa.float16(), "float32": pa.float32(), "float64": pa.float64()}[kind]
    return pa.list_(number, width) if fixed else pa.list_(number)


def table(pa, kind="float32", *, fixed=True, **changes):
    rows = [UNIT[:count].astype(kind).tolist() for count in COUNTS]
    vector = lists(kind, pa, fixed)
    held = {
        "ids": pa.array(["a", "b", "c"]),
        "globals": pa.array(UNIT[:3].astype(kind).tolist(), vector),
        "patches": pa.array(rows, pa.list_(vector)),
        **changes,
    }
    return pa.table({name: column for name, column in held.items() if column is not None})


def write(pa, path, content):
    if path.suffix == ".parquet":
        pa.parquet.write_table(content, path)
    else:
        with pa.ipc.new_file(path, content.schema) as writer:
            writer.write_table(content)
    return path


def taken(path, folder, **changes):
    found = read_vectors(path)
    how = {"encoder": "x", "store": "float32", "progress": False, **changes}
    arrays = found.ids, found.global_vectors, found.patches, found.counts
    return import_gallery(folder, *arrays, boxes=found.boxes, **how)


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "feather"])
@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_lists_of_every_form(tmp_path, pa, kind, fixed, suffix):
    path = write(pa, tmp_path / f"v.{suffix}", table(pa, kind, fixed=fixed))
    made = taken(path, tmp_path / "g")
    assert list(made.ids) == ["a", "b", "c"] and made.patch_ends.tolist() == [2, 2, 5]
    np.testing.assert_array_equal(made.patches, np.concatenate([UNIT[:c] for c in COUNTS]))
    np.testing.assert_array_equal(made.global_vectors, UNIT[:3])


def test_ids_and_boxes(tmp_path, pa):
    box = [0.0, 0.25, 0.5, 1.0]
    boxes = pa.array([[box] * count for count in COUNTS], pa.list_(pa.list_(pa.float32())))
    uuids = [UUID(int=number) for number in range(3)]
    kinds = {
        "int": (pa.array([5, 2**62, -1]), [5, 2**62, -1]),
        "uuid": (pa.array([item.bytes for item in uuids], pa.binary(16)), uuids),
    }
    for kind, (column, wanted) in kinds.items():
        path = write(pa, tmp_path / f"{kind}.parquet", table(pa, ids=column, boxes=boxes))
        made = taken(path, tmp_path / kind)
        assert list(made.ids) == wanted and made.boxes.tolist() == [box] * 5


def test_more_than_one_batch(tmp_path, pa, monkeypatch):
    monkeypatch.setattr("patchrerank.gallery.arrow_vectors.BLOCK_BYTES", 40)
    monkeypatch.setattr("patchrerank.gallery.arrow_vectors.IDS_AT_ONCE", 64)
    monkeypatch.setattr("patchrerank.gallery.arrow_writing.GROUP_BYTES", 1000)
    drawn = draw_gallery(tmp_path / "g", list(range(50)), np.arange(50) % 4, 8, id_type="int")
    export_gallery(drawn, tmp_path / "v.parquet", "parquet", progress=False)
    made = taken(tmp_path / "v.parquet", tmp_path / "h", store="float16")
    for name in ("ids", "globals", "patches", "patch_ends", "boxes"):
        assert made.manifest.arrays[name] == drawn.manifest.arrays[name]


def wrong(pa):
    floats = pa.list_(pa.float32())
    return {
        "globals of whole numbers": (
            {"globals": pa.array([[1, 0, 0, 0]] * 3)},
            r"the column 'globals' is list<.*int64>; use fixed_size_list",
        ),
        "flat patches": (
            {"patches": pa.array([[1.0]] * 3, floats)},
            "the column 'patches' is list<.*float>; use list of fixed_size_list",
        ),
        "float ids": ({"ids": pa.array([0.5, 1, 2])}, "the column 'ids' is double; use text"),
        "absent": ({"globals": None}, "holds no column 'globals'; it has ids, patches"),
        "null": ({"ids": pa.array(["a", None, "c"])}, "the column 'ids' has none in row 1"),
        "widths": (
            {"globals": pa.array([[1.0, 0, 0, 0], [1.0], [1.0, 0, 0, 0]], floats)},
            r"globals .*: row 1 has 1 numbers, the first has 4",
        ),
        "boxes": (
            {"boxes": pa.array([[[0.0, 0, 1, 1]]] * 3, pa.list_(floats))},
            "row 0 has 1 boxes for 2 patches",
        ),
    }


@pytest.mark.parametrize(
    "case",
    ["globals of whole numbers", "flat patches", "float ids", "absent", "null", "widths", "boxes"],
)
def test_a_wrong_column_is_named_and_nothing_written(tmp_path, pa, case):
    changes, message = wrong(pa)[case]
    path = write(pa, tmp_path / "v.parquet", table(pa, **changes))
    with pytest.raises(GalleryError, match=message):
        taken(path, tmp_path / "g")
    assert not (tmp_path / "g").exists()


def test_no_parquet(tmp_path, pa):
    for name in ("v.parquet", "v.arrow"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(GalleryError, match="cannot be read"):
            read_vectors(tmp_path / name)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    made: Gallery = draw_gallery(tmp_path / "g", ["a"], 1, 4)
    (tmp_path / "v.parquet").touch()
    for call in (
        lambda: read_vectors(tmp_path / "v.parquet"),
        lambda: export_gallery(made, tmp_path / "w.parquet", "parquet", progress=False),
    ):
        with pytest.raises(MissingExtraError, match=r"patchrerank\[arrow\]"):
            call()
