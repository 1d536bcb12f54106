from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery import (
    Gallery,
    LocalStore,
    import_hdf5,
    read_hdf5,
    verify_local,
    write_hdf5,
)
from patchrerank.types import LocalDescriptors

REFERENCE = Path(__file__).parents[1] / "reference" / "e2e"
FILES = sorted(REFERENCE.glob("*/data/roxford5k/*_local.hdf5"))


def descriptors(count: int, dim: int = 6, seed: int = 0) -> LocalDescriptors:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return LocalDescriptors(
        vectors=vectors,
        positions=rng.random((count, 2), dtype=np.float32),
        scales=rng.integers(0, 3, count).astype(np.int16),
        weights=-np.sort(-rng.random(count, dtype=np.float32)),
    )


def raw(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["features"][:]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parts[-4]}-{path.stem}")
def test_published_layout_is_read_column_by_column(path):
    table = raw(path).astype(np.float32)
    with read_hdf5(path) as images:
        assert len(images) == len(table) and images.slots == 12 and images.dim == 16
        for number, slots in enumerate(table):
            used = [slot for slot in slots if slot[3] == 0]
            found = images[number]
            assert len(found) == len(used)
            for at, slot in enumerate(used):
                assert found.positions[at].tolist() == [slot[1], slot[0]]  # vertical first there
                assert found.scales[at] == int(slot[2])
                assert found.weights[at] == slot[4]
                np.testing.assert_array_equal(found.vectors[at], slot[5:])


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parts[-4]}-{path.stem}")
def test_published_files_are_written_back_bit_by_bit(tmp_path, path):
    table = raw(path)
    with read_hdf5(path) as images:
        write_hdf5(tmp_path / "out.hdf5", images, slots=12, dtype=table.dtype.name)
    again = raw(tmp_path / "out.hdf5")
    assert again.dtype == table.dtype
    np.testing.assert_array_equal(again, table)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_round_trip(tmp_path, dtype):
    items = [descriptors(count, seed=count) for count in (3, 0, 9, 5)]
    write_hdf5(tmp_path / "f.hdf5", items, slots=5, dtype=dtype)
    table = raw(tmp_path / "f.hdf5")
    assert table.shape == (4, 5, 11) and table.dtype == dtype
    assert table[1, :, 3].tolist() == [1] * 5 and not table[1][:, [0, 1, 2, 4, 5]].any()
    tolerance = 0 if dtype == "float32" else 1e-3
    with read_hdf5(tmp_path / "f.hdf5") as images:
        assert [len(item) for item in images] == [3, 0, 5, 5]
        assert [len(item) for item in images[1:3]] == [0, 5] and len(images[-1]) == 5
        for item, found in zip(items, images, strict=True):
            np.testing.assert_allclose(found.vectors, item.vectors[:5], atol=tolerance)
            np.testing.assert_allclose(found.positions, item.positions[:5], atol=tolerance)
            np.testing.assert_allclose(found.weights, item.weights[:5], atol=tolerance)
            np.testing.assert_array_equal(found.scales, item.scales[:5])
        with pytest.raises(IndexError):
            _ = images[4]
    assert not (tmp_path / "f.hdf5.tmp").exists()


@pytest.mark.parametrize("store", ["float32", "float16", "int8", "binary"])
def test_import(tmp_path, store):
    path = FILES[0]
    local = import_hdf5(path, tmp_path / "local", store=store, identity="abc")
    assert isinstance(local, LocalStore) and local.identity == "abc" and local.grids == ()
    bounds = {"float32": 0, "float16": 1e-3, "int8": 0.5 / 127, "binary": 2.0}
    with read_hdf5(path) as images:
        assert len(local) == len(images)
        for row, item in enumerate(images):
            read = local.descriptors_of(row)
            assert len(read) == len(item)
            np.testing.assert_array_equal(read.positions, item.positions)
            np.testing.assert_allclose(read.vectors, item.vectors, atol=bounds[store])
    assert verify_local(local) == []
    write_hdf5(tmp_path / "back.hdf5", local, slots=12, dtype="float32")
    if store == "float32":
        np.testing.assert_array_equal(raw(tmp_path / "back.hdf5"), raw(path))


def test_import_into_a_gallery(tmp_path, tiny_gallery):
    import shutil

    gallery = Gallery(shutil.copytree(tiny_gallery.folder, tmp_path / "g"))
    items = [descriptors(number % 4, seed=number) for number in range(len(gallery))]
    write_hdf5(tmp_path / "f.hdf5", items, slots=4, dtype="float32")
    import_hdf5(tmp_path / "f.hdf5", gallery, store="float16")
    assert len(gallery.local) == len(gallery)
    write_hdf5(tmp_path / "few.hdf5", items[:-1], slots=4)
    with pytest.raises(GalleryError, match="holds 39 images, the gallery 40"):
        import_hdf5(tmp_path / "few.hdf5", gallery)


def test_positions_in_pixels_need_sizes(tmp_path):
    item = descriptors(4)
    pixels = LocalDescriptors(item.vectors, item.positions * [200, 100], item.scales, item.weights)
    write_hdf5(tmp_path / "f.hdf5", [pixels], slots=4, dtype="float32")
    with read_hdf5(tmp_path / "f.hdf5") as images, pytest.raises(GalleryError, match="sizes"):
        _ = images[0]
    with read_hdf5(tmp_path / "f.hdf5", sizes=[[200, 100]]) as images:
        np.testing.assert_allclose(images[0].positions, item.positions, atol=1e-6)
    with pytest.raises(GalleryError, match=r"\(1, 2\)"):
        read_hdf5(tmp_path / "f.hdf5", sizes=[1, 2])


def test_files_that_are_something_else(tmp_path):
    with pytest.raises(GalleryError, match="no such file"):
        read_hdf5(tmp_path / "absent.hdf5")
    (tmp_path / "text.hdf5").write_text("hello")
    with pytest.raises(GalleryError, match="not an HDF5 file"):
        read_hdf5(tmp_path / "text.hdf5")
    cases = {"other": None, "flat": np.zeros((3, 4)), "ints": np.zeros((2, 2, 9), int)}
    cases["narrow"] = np.zeros((2, 2, 5), np.float32)
    for name, content in cases.items():
        with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
            if content is None:
                file["global"] = np.zeros(3)
            else:
                file["features"] = content
        with pytest.raises(GalleryError, match="features"):
            read_hdf5(tmp_path / f"{name}.hdf5")
    broken = np.zeros((2, 2, 9), np.float32)
    broken[1, 0, 7] = np.nan
    with h5py.File(tmp_path / "nan.hdf5", "w") as file:
        file["features"] = broken
    with read_hdf5(tmp_path / "nan.hdf5") as images:
        assert len(images[0]) == 2
        with pytest.raises(GalleryError, match="image 1 holds NaN"):
            _ = images[1]


def test_impossible_writes(tmp_path):
    with pytest.raises(SettingError, match="slots"):
        write_hdf5(tmp_path / "f.hdf5", [descriptors(2)], slots=0)
    with pytest.raises(SettingError, match="dtype"):
        write_hdf5(tmp_path / "f.hdf5", [descriptors(2)], dtype="int8")
    with pytest.raises(GalleryError, match="one dimension"):
        write_hdf5(tmp_path / "f.hdf5", [descriptors(2), descriptors(2, dim=7)])
    with pytest.raises(GalleryError, match="none"):
        write_hdf5(tmp_path / "f.hdf5", [descriptors(0)])
    assert not (tmp_path / "f.hdf5").exists()


def test_a_file_that_somebody_reads_is_replaced_and_they_keep_theirs(tmp_path):
    path = tmp_path / "local.hdf5"
    write_hdf5(path, [descriptors(3)], slots=4)
    with read_hdf5(path) as held:
        before = held[0].vectors
        write_hdf5(path, [descriptors(3, seed=1)], slots=4)
        np.testing.assert_array_equal(held[0].vectors, before)
    with read_hdf5(path) as now:
        assert not np.array_equal(now[0].vectors, before)


def test_a_failed_write_and_a_file_of_others_leave_what_is_there(tmp_path):
    path = tmp_path / "local.hdf5"
    write_hdf5(path, [descriptors(3)], slots=4)
    before = path.read_bytes()
    with pytest.raises(GalleryError, match="dimensions"):
        write_hdf5(path, OneThenAnother(), slots=4)
    assert path.read_bytes() == before
    with h5py.File(path, "w") as file:
        file["mine"] = [1, 2]
    before = path.read_bytes()
    with pytest.raises(SettingError, match=r"local\.hdf5: is there already and is not an"):
        write_hdf5(path, [descriptors(3)], slots=4)
    assert path.read_bytes() == before


class OneThenAnother(list):
    """Of one dimension when it is looked through, of another when it is written."""

    def __init__(self):
        super().__init__([descriptors(3)])
        self.looks = 0

    def __iter__(self):
        self.looks += 1
        return iter([descriptors(3)] if self.looks == 1 else [descriptors(3, dim=8)])


@pytest.mark.parametrize("shape", [(10**12, 4, 9), (4, 10**9, 9), (4, 4, 10**9), (2**40, 2**10, 9)])
def test_files_that_declare_more_than_they_hold(tmp_path, shape):
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file.create_dataset("features", shape, dtype="f4", chunks=(1, 4, 9), compression="gzip")
    with pytest.raises(GalleryError, match=r"f\.hdf5: /features declares .* bytes"):
        read_hdf5(tmp_path / "f.hdf5")


def test_images_that_do_not_fit_into_memory(tmp_path, monkeypatch):
    write_hdf5(tmp_path / "f.hdf5", [descriptors(4)], slots=4)
    monkeypatch.setattr("patchrerank.file_bounds.free_memory", lambda: 10)
    with pytest.raises(GalleryError, match=r"f\.hdf5: one image: needs .* bytes of memory"):
        read_hdf5(tmp_path / "f.hdf5")


def test_well_squeezed_files_are_read(tmp_path):
    nothing = descriptors(0)
    write_hdf5(tmp_path / "f.hdf5", [descriptors(1), *[nothing] * 40], slots=700)
    with read_hdf5(tmp_path / "f.hdf5") as images:
        assert [len(images[n]) for n in range(3)] == [1, 0, 0]


def test_damaged_contents_are_named(tmp_path):
    path = tmp_path / "f.hdf5"
    write_hdf5(path, [descriptors(4, seed=n) for n in range(3)], slots=4, dtype="float32")
    whole = path.read_bytes()
    refused = []
    for place in range(0, len(whole), len(whole) // 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            with read_hdf5(path) as images:
                list(images)
        except GalleryError as error:
            refused.append(str(error))
    assert len(refused) > 5 and all(reason.startswith(str(path)) for reason in refused)
    for sizes in ([[0, 5]] * 3, [[np.nan, 5]] * 3):
        path.write_bytes(whole)
        with pytest.raises(GalleryError, match="sizes: image 0 is"):
            read_hdf5(path, sizes=sizes)
