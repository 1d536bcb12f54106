"""Local descriptors and sizes of pictures in and out, to the last bit; rerankers work on them."""

from __future__ import annotations

import json
import shutil
from uuid import UUID

import numpy as np
import pytest
import torch
from PIL import Image

from patchrerank.encoders import Preprocessing, load_dense_encoder
from patchrerank.errors import GalleryError, PatchRerankError, QueryError, SettingError
from patchrerank.gallery import (
    Gallery,
    LocalOptions,
    LocalVectors,
    build_local,
    export_gallery,
    import_gallery,
    read_vectors,
    remove,
    verify,
    write_hdf5,
)
from patchrerank.pipeline import load_reranker
from patchrerank.types import LocalDescriptors, LocalQueries, Queries, Shortlist

N, D, K = 30, 8, 6
IDS = {
    "text": [f"a/{n}.jpg" for n in range(N)],
    "int": [7 * n - 3 for n in range(N)],
    "uuid": [UUID(int=n << 70) for n in range(N)],
}
COUNTS = np.random.default_rng(1).integers(0, 5, N)
COUNTS[3] = 0
TOTAL = int(COUNTS.sum())
SIZES = np.random.default_rng(2).integers(20, 900, (N, 2)).astype(np.int32)


def unit(*shape, seed=0, dtype=np.float32):
    drawn = np.random.default_rng(seed).standard_normal(shape)
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(dtype)


def placed(seed=3):
    rng = np.random.default_rng(seed)
    scales = rng.integers(0, 3, TOTAL)
    rows = np.column_stack([rng.random((TOTAL, 2)), scales, -np.sort(-rng.random(TOTAL))])
    return rows.astype(np.float32)


VECTORS, PLACES = unit(TOTAL, K, seed=4), placed()


def made(folder, kind="text", **changes):
    given = {"local": LocalVectors(VECTORS, PLACES, COUNTS), "local_store": "float32"}
    given |= {"sizes": SIZES, "encoder": "ours", "progress": False, **changes}
    return import_gallery(folder, IDS[kind], unit(N, D), unit(N, 2, D, seed=1), **given)


def same(first: Gallery, second: Gallery):
    held = first.manifest.arrays.items()  # stamps are of picture files, which are not exported
    assert {name: one for name, one in held if name != "stamps"} == second.manifest.arrays
    assert first.local.manifest.arrays == second.local.manifest.arrays
    for key in ("encoder", "identity", "fingerprint", "grids", "ids_crc32"):
        assert getattr(first.local.manifest, key) == getattr(second.local.manifest, key)


@pytest.mark.parametrize("kind", IDS)
def test_descriptors_and_sizes_come_back(tmp_path, kind):
    gallery = made(tmp_path / "g", kind)
    local = gallery.local
    assert verify(gallery) == [] and local.identity == "" and local.grids == ()
    np.testing.assert_array_equal(local.ends, np.cumsum(COUNTS))
    np.testing.assert_array_equal(local.store.decode(np.arange(TOTAL)), VECTORS)
    np.testing.assert_array_equal(local.places(np.arange(TOTAL)), PLACES)
    np.testing.assert_array_equal(gallery.sizes, SIZES)


FORMS = {"npy": "v", "hdf5": "v.h5", "parquet": "v.parquet"}


@pytest.mark.parametrize("store", ["float32", "float16", "binary"])
@pytest.mark.parametrize("form", FORMS)
def test_there_and_back_keeps_every_bit(tmp_path, form, store):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    gallery = made(tmp_path / "g", "int", local_store=store, local_encoder="our net")
    out = export_gallery(gallery, tmp_path / FORMS[form], form, progress=False)
    how = {"local_store": store, "progress": False}
    again = import_gallery(tmp_path / "h", **vars(read_vectors(out)) | how)
    same(gallery, again)
    assert verify(again) == []
    bare = export_gallery(gallery, tmp_path / f"b{FORMS[form]}", form, local=False, progress=False)
    assert read_vectors(bare).local is None


@pytest.mark.parametrize("store", ["float32", "binary"])
@pytest.mark.parametrize("form", FORMS)
def test_removed_images_are_not_exported(tmp_path, form, store):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    gallery = made(tmp_path / "g", local_store=store, store="int8" if store == "binary" else store)
    gone = np.array([2, 3, 4, 11, 29])
    remove(gallery.folder, [IDS["text"][row] for row in gone])
    out = export_gallery(gallery.folder, tmp_path / FORMS[form], form, progress=False)
    how = {"local_store": store, "store": "float32", "normalise": store == "binary"}
    again = import_gallery(tmp_path / "h", **vars(read_vectors(out)) | how, progress=False)
    kept = np.setdiff1d(np.arange(N), gone)
    assert list(again.ids) == [IDS["text"][row] for row in kept] and verify(again) == []
    np.testing.assert_array_equal(again.sizes, SIZES[kept])
    near = {"rtol": 0, "atol": 0 if store == "float32" else 3e-3}  # what was int8, normalised
    np.testing.assert_allclose(again.global_vectors, unit(N, D)[kept], **near)
    patches = np.repeat(np.isin(np.arange(N), kept), 2).nonzero()[0]
    np.testing.assert_allclose(again.patches, gallery.patch_store.decode(patches), **near)
    rows = np.repeat(np.isin(np.arange(N), kept), COUNTS).nonzero()[0]
    every = np.arange(len(rows))
    np.testing.assert_array_equal(again.local.ends, np.cumsum(COUNTS[kept]))
    np.testing.assert_array_equal(again.local.places(every), PLACES[rows])
    decoded = gallery.local.store.decode(rows)
    np.testing.assert_allclose(again.local.store.decode(every), decoded, **near)


class Cells(torch.nn.Module):
    """Four numbers of each cell of 4 × 4 pixels."""

    def forward(self, pixels):
        pooled = torch.nn.functional.avg_pool2d(pixels, 4)
        return torch.cat([pooled, pooled.square().sum(1, keepdim=True) + 1], dim=1)


@pytest.fixture(scope="module")
def dense():
    plain = Preprocessing((16, 16), (0.5,) * 3, (0.25,) * 3, "area")
    how = {"image_size": 16, "stride": 4, "device": "cpu", "name": "cells"}
    return load_dense_encoder(Cells(), preprocessing=plain, **how)


def test_the_store_of_a_dense_encoder(tmp_path, tiny_gallery, dense):
    built = Gallery(shutil.copytree(tiny_gallery.folder, tmp_path / "g"))
    local = build_local(built, dense, LocalOptions(progress=False))
    out = export_gallery(built, tmp_path / "v", progress=False)
    found, how = read_vectors(out), {"store": built.manifest.store, "progress": False}
    again = import_gallery(tmp_path / "h", **vars(found) | how)
    same(built, again)
    assert again.local.cells == local.cells and verify(again) == []
    np.testing.assert_array_equal(again.sizes, built.sizes)
    arrays = LocalVectors(found.local.vectors, found.local.places, found.local.counts)
    how |= {"local": arrays, "local_encoder": dense}
    same(built, import_gallery(tmp_path / "i", **vars(found) | how))


def test_descriptors_are_built_of_the_pictures_of_an_import(tmp_path, dense):
    for number in range(3):
        drawn = np.random.default_rng(number).integers(0, 255, (30, 20, 3)).astype(np.uint8)
        Image.fromarray(drawn).save(tmp_path / str(number), format="png")
    ids = np.arange(3)
    gallery = import_gallery(
        tmp_path / "g", ids, unit(3, D), encoder="ours", root=tmp_path, progress=False
    )
    local = build_local(gallery, dense, LocalOptions(progress=False))
    assert len(Gallery(gallery.folder).local) == 3 and len(local.store)


def test_a_folder_of_arrays_padding_and_missing_columns(tmp_path):
    slots = int(COUNTS.max())
    vectors, places = np.full((N, slots, K), np.nan), np.full((N, slots, 2), np.nan)
    kept = np.arange(slots) < COUNTS[:, None]
    vectors[kept], places[kept] = VECTORS, PLACES[:, :2]
    (tmp_path / "local").mkdir()
    np.save(tmp_path / "local" / "vectors.npy", vectors)
    np.save(tmp_path / "local" / "places.npy", places)
    np.save(tmp_path / "local" / "counts.npy", COUNTS)
    local = made(tmp_path / "g", local=tmp_path / "local").local
    np.testing.assert_array_equal(local.store.decode(np.arange(TOTAL)), VECTORS)
    np.testing.assert_array_equal(local.positions, PLACES[:, :2])
    assert (local.scales == 0).all() and (local.weights == 1).all()


def items():
    ends = np.cumsum(COUNTS)
    for end, count in zip(ends, COUNTS, strict=True):
        own = PLACES[end - count : end]
        vectors, scales = VECTORS[end - count : end], own[:, 2].astype(np.int16)
        yield LocalDescriptors(vectors, own[:, :2], scales, own[:, 3])


def test_a_file_of_ames(tmp_path):
    write_hdf5(tmp_path / "l.hdf5", list(items()), slots=6, dtype="float32")
    gallery = made(tmp_path / "g", "uuid", local=tmp_path / "l.hdf5", local_encoder="dinov2")
    assert verify(gallery) == [] and gallery.local.identity == "dinov2"
    arrays = made(tmp_path / "h", "uuid").local.manifest.arrays
    assert gallery.local.manifest.arrays == arrays
    pixels = [
        LocalDescriptors(one.vectors, one.positions * size, one.scales, one.weights)
        for one, size in zip(items(), SIZES.astype(np.float32), strict=True)
    ]
    write_hdf5(tmp_path / "p.hdf5", pixels, slots=6, dtype="float32")
    with pytest.raises(GalleryError, match="positions of image 0 reach"):
        made(tmp_path / "i", local=tmp_path / "p.hdf5")
    gallery = made(tmp_path / "i", local=tmp_path / "p.hdf5", local_pixels=True)
    np.testing.assert_allclose(gallery.local.positions, PLACES[:, :2], atol=1e-6)
    rows = np.repeat(SIZES, COUNTS, axis=0).astype(np.float32)
    scaled = np.column_stack([PLACES[:, :2] * rows, PLACES[:, 2:]])
    flat = LocalVectors(VECTORS, scaled, COUNTS)
    gallery = made(tmp_path / "j", local=flat, local_pixels=True)
    np.testing.assert_allclose(gallery.local.positions, PLACES[:, :2], atol=1e-6)


def test_more_than_one_block(tmp_path, monkeypatch):
    whole = made(tmp_path / "g")
    monkeypatch.setattr("patchrerank.gallery.row_sources.BLOCK_BYTES", 100)
    same(whole, made(tmp_path / "h"))


@pytest.mark.parametrize("stages", ["chamfer", "dense_correlation"])
def test_rerankers_of_local_descriptors(tmp_path, stages):
    gallery = made(tmp_path / "g", "int", local_encoder="our net")
    parts, rows = list(items()), np.flatnonzero(COUNTS)
    box = np.array([[0, 0, 1, 1]], np.float32)
    shortlist = Shortlist(rows[None], np.zeros((1, len(rows)), np.float32))
    reranker = load_reranker(gallery, f"{stages}:all:0")
    for row in rows[:3]:
        local = LocalQueries([parts[row]], "our net")
        ranking = reranker.rerank(Queries(unit(1, D), local=local, boxes=box), shortlist)
        assert ranking.rows[0, 0] == row and np.isfinite(ranking.boxes[0, 0]).all()
    other = Queries(unit(1, D), local=LocalQueries([parts[0]], "another net"))
    with pytest.raises(QueryError, match="were made by another net"):
        reranker.rerank(other, shortlist)


def test_normalise_and_nothing_but_local(tmp_path):
    long = LocalVectors(3 * VECTORS, PLACES, COUNTS)
    local = made(tmp_path / "g", local=long, normalise=True).local
    np.testing.assert_allclose(local.store.decode(np.arange(TOTAL)), VECTORS, atol=1e-6)
    gallery = import_gallery(
        tmp_path / "h",
        IDS["text"],
        unit(N, D),
        local=LocalVectors(VECTORS, PLACES, COUNTS),
        encoder="ours",
        progress=False,
    )
    assert gallery.manifest.patches == 0 and gallery.has_local and verify(gallery) == []


def spoiled(array, place, value):
    array = array.copy()
    array[place] = value
    return array


def second():
    """Return the row of the second descriptor of an image."""
    return int(np.cumsum(COUNTS)[np.argmax(COUNTS > 1)] - COUNTS[np.argmax(COUNTS > 1)] + 1)


BAD = {
    "sum": ((VECTORS, PLACES, COUNTS + 1), "local counts: they add up to"),
    "counts": ((VECTORS, PLACES), r"local vectors: .* need local counts"),
    "dtype": ((VECTORS.astype(int), PLACES, COUNTS), "local vectors: int64"),
    "places": ((VECTORS, PLACES[1:], COUNTS), r"local places: .* use floats \(\d+, 2 to 4\)"),
    "narrow": ((VECTORS, PLACES[:, :1], COUNTS), "local places: float32"),
    "NaN": ((spoiled(VECTORS, 5, np.nan), PLACES, COUNTS), "local vectors: row 5, of 'a/.*NaN"),
    "norm": ((2 * VECTORS, PLACES, COUNTS), r"row 0, .* norm 2 in place of 1; .*normalise=True"),
    "place": (
        (VECTORS, spoiled(PLACES, (7, 1), 3), COUNTS),
        r"local places: row 7, of 'a/.* outside of the picture.*local_pixels=True",
    ),
    "NaN place": ((VECTORS, spoiled(PLACES, (7, 0), np.nan), COUNTS), "outside of the picture"),
    "scale": ((VECTORS, spoiled(PLACES, (7, 2), 0.5), COUNTS), "has no scale from 0 to"),
    "weight": ((VECTORS, spoiled(PLACES, (7, 3), np.inf), COUNTS), "has no finite weight"),
    "rising": ((VECTORS, spoiled(PLACES, (second(), 3), 9), COUNTS), "stronger than the one befor"),
}
BAD_OTHERS = {
    "sizes": ({"sizes": SIZES[1:]}, r"sizes: int32 \(29, 2\); use whole numbers \(30, 2\)"),
    "side": ({"sizes": spoiled(SIZES, (4, 1), 0)}, r"sizes: 'a/4.jpg' \(row 4\) is \[\d+, 0\]"),
    "float sizes": ({"sizes": SIZES * 1.0}, "sizes: float64"),
    "pixels": ({"sizes": None, "local_pixels": True}, "divided by sizes; pass sizes"),
    "store": ({"local_store": "pq"}, "local store 'pq' is unknown"),
    "folder": ({"local": "absent"}, "absent: there is no such file or folder"),
    "file": ({"local": "absent.h5"}, "absent.h5: no such file"),
    "object": ({"local": 3}, "the local descriptors are"),
    "encoder": ({"local_encoder": 3}, "the local encoder is"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_descriptors_are_one_sentence_and_nothing_is_written(tmp_path, case):
    arrays, message = BAD[case]
    with pytest.raises(GalleryError, match=message) as caught:
        made(tmp_path / "g", local=LocalVectors(*arrays))
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", BAD_OTHERS)
def test_other_bad_input(tmp_path, case):
    changes, message = BAD_OTHERS[case]
    with pytest.raises(PatchRerankError, match=message):
        made(tmp_path / "g", **changes)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_import_leaves_is_cleared_and_what_others_have_stays(tmp_path):
    gallery = made(tmp_path / "g")
    (gallery.folder / "manifest.json").unlink()
    (gallery.folder / "patches.bin").unlink()
    assert verify(made(tmp_path / "g", local=None)) == [] and not (tmp_path / "g/local").exists()
    made(tmp_path / "h")
    (tmp_path / "h" / "manifest.json").unlink()
    (tmp_path / "h" / "local" / "notes.txt").write_text("mine")
    with pytest.raises(GalleryError, match="holds 'local'"):
        made(tmp_path / "h")
    assert (tmp_path / "h" / "local" / "notes.txt").read_text() == "mine"


def test_a_damaged_record_of_local_descriptors(tmp_path):
    out = export_gallery(made(tmp_path / "g"), tmp_path / "v", progress=False)
    record = json.loads((out / "patchrerank.json").read_text())
    record["local"]["grids"] = "none"
    (out / "patchrerank.json").write_text(json.dumps(record))
    with pytest.raises(GalleryError, match="the record of an export is damaged"):
        read_vectors(out)
    (out / "patchrerank.json").unlink()
    (out / "local" / "places.npy").unlink()
    with pytest.raises(GalleryError, match=r"holds no places\.npy"):
        read_vectors(out)
    with pytest.raises(SettingError, match="has no versions"):
        read_vectors(out, version=1)
    with pytest.raises(SettingError, match="no columns to be named"):
        read_vectors(out, {"ids": "sku"})
