"""Others' HDF5 files of vectors, and what HDF5 cannot hold."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from drawn_galleries import draw_gallery
from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery import export_gallery, import_gallery
from patchrerank.gallery.vector_files import read_vectors

ONES = np.full((3, 2, 4), 0.5, dtype=np.float16)


def written(path, **changes):
    held = {"ids": ["a", "b", "c"], "globals": ONES[:, 0], "patches": ONES, **changes}
    with h5py.File(path, "w") as file:
        for name, data in held.items():
            if data is not None:
                file[name] = data
    return path


def taken(path, folder):
    found = read_vectors(path)
    return import_gallery(
        folder,
        found.ids,
        found.global_vectors,
        found.patches,
        found.counts,
        boxes=found.boxes,
        encoder="x",
        progress=False,
    )


@pytest.mark.parametrize("ids", [["a", "b", "c"], np.array([b"a", b"b", b"c"])])
def test_files_of_others(tmp_path, ids):
    made = taken(written(tmp_path / "v.hdf5", ids=ids), tmp_path / "g")
    assert list(made.ids) == ["a", "b", "c"]
    np.testing.assert_array_equal(made.patches, ONES.reshape(-1, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"globals": None}, r"holds no data set 'globals'; it has \['ids', 'patches'\]"),
        ({"globals": (9 * ONES[:, 0]).astype(np.int32)}, r"globals .*v.h5\): holds int32"),
        ({"patches": ONES[:2]}, r"patches \(.*v.h5\): 2 images, but there are 3 ids"),
        ({"counts": np.array([2, 3, 2])}, "counts: 3 at position 1"),
        ({"ids": np.zeros((3, 2))}, "ids: an array of float64"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, message):
    with pytest.raises(GalleryError, match=message):
        taken(written(tmp_path / "v.h5", **changes), tmp_path / "g")
    assert not (tmp_path / "g").exists()


def test_no_hdf5(tmp_path):
    (tmp_path / "v.h5").write_bytes(b"no HDF5")
    with pytest.raises(GalleryError, match="not an HDF5 file that can be read"):
        read_vectors(tmp_path / "v.h5")


def test_ids_with_null_characters(tmp_path):
    made = draw_gallery(tmp_path / "g", ["a", "b\0c"], 1, 4)
    with pytest.raises(GalleryError, match="null character, which HDF5 cannot keep"):
        export_gallery(made, tmp_path / "v.h5", "hdf5", progress=False)
    assert not (tmp_path / "v.h5").exists()


def test_an_export_is_called_what_an_import_knows(tmp_path):
    made = draw_gallery(tmp_path / "g", ["a", "b"], 1, 4)
    for name, form, message in (
        ("v", "hdf5", r"ends in \.h5 or \.hdf5; call it .*v\.h5"),
        ("v.h5", "parquet", r"ends in \.parquet"),
        ("v.h5", "npy", "makes a folder"),
    ):
        with pytest.raises(SettingError, match=message):
            export_gallery(made, tmp_path / name, form, progress=False)
        assert not (tmp_path / name).exists()
