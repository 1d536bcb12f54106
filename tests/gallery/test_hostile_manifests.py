"""Manifests and ids that somebody damaged or edited: one sentence, from opening and from verify."""

from __future__ import annotations

import json
import shutil
import zlib

import numpy as np
import pytest

from command_line import run
from patchrerank.errors import GalleryError
from patchrerank.gallery import Gallery, LocalStore, verify
from patchrerank.gallery.manifest import MANIFEST

EDITS = [
    ({"images": "24"}, 'images: expected a whole number, got "24"'),
    ({"images": -1}, "images: must be at least 0, got -1"),
    ({"images": True}, "images: expected a whole number, got true"),
    ({"images": 41}, "arrays.id_ends.shape: expected [41], got [40]"),
    ({"images": 10**30}, "images: expected a whole number"),
    ({"patches": 7}, "arrays.patches.shape: expected [7, 16], got [560, 16]"),
    ({"dim": float("nan")}, "dim: expected a whole number, got NaN"),
    ({"dim": 0}, "dim: must lie in 1"),
    ({"dim": 17}, "arrays.globals.shape: expected [40, 17]"),
    ({"dim": 1 << 40}, "dim: must lie in 1"),
    ({"store": "x"}, "store: 'x' is none of float32, float16, int8, pq"),
    ({"store": 3}, "store: expected text, got 3"),
    ({"store": "int8"}, "arrays.patch_scales: missing"),
    ({"store": "pq"}, "arrays.pq_centroids: missing"),
    ({"root": 7}, "root: expected text, got 7"),
    ({"root": "a\0b"}, "root: no path has a null character"),
    ({"skipped": "abc"}, "skipped: expected a list"),
    ({"skipped": [["a"]]}, "skipped[0]: expected a list of 2"),
    ({"skipped": [["a", 1]]}, "skipped[0][1]: expected text, got 1"),
    ({"skipped": None}, "skipped: expected a list, got null"),
    ({"whitened": "no"}, "whitened: expected true or false"),
    ({"chunk": 0}, "chunk: must be at least 1"),
    ({"chunk": 1.5}, "chunk: expected a whole number"),
    ({"identity": ["a"]}, "identity: expected text"),
    ({"regions": None}, "regions: expected text, got null"),
    ({"encoder": []}, "encoder: expected an object"),
    ({"encoder": {}}, "encoder.spec: expected text"),
    ({"arrays": []}, "arrays: expected an object"),
    ({"arrays": {}}, "arrays.ids: missing"),
    ({"format": "1"}, "format '1', this version reads 1"),
    ({"version": 1}, "version: expected text"),
]
ARRAY_EDITS = [
    ("ids", {"dtype": "<U4"}, "arrays.ids.dtype: expected '|u1', got '<U4'"),
    ("patches", {"dtype": "<f8"}, "arrays.patches.dtype: expected '<f4', got '<f8'"),
    ("patches", {"dtype": ">f4"}, "arrays.patches.dtype: expected '<f4', got '>f4'"),
    ("patches", {"dtype": [["a", "<f4"]]}, "arrays.patches.dtype: expected text"),
    ("sizes", {"dtype": "no such"}, "arrays.sizes.dtype: expected '<i4'"),
    ("boxes", {"shape": [560, -4]}, "arrays.boxes.shape: expected [560, 4], got [560, -4]"),
    ("boxes", {"shape": [560, 2, 2]}, "arrays.boxes.shape: expected [560, 4]"),
    ("boxes", {"shape": [2240]}, "arrays.boxes.shape: expected [560, 4]"),
    ("boxes", {"shape": 560}, "arrays.boxes.shape: expected a list, got 560"),
    ("boxes", {"shape": [560, 4.0]}, "arrays.boxes.shape[1]: expected a whole number, got 4.0"),
    ("ids", {"shape": [-1]}, "arrays.ids.shape: expected ['n'], got [-1]"),
    ("ids", {"shape": []}, "arrays.ids.shape: expected ['n'], got []"),
    ("ids", {"shape": [1 << 60]}, "ids.bin: has "),
    ("ids", {"crc32": -1}, "arrays.ids.crc32: -1 is no CRC-32"),
    ("ids", {"crc32": "0"}, "arrays.ids.crc32: expected a whole number"),
    ("ids", {"more": 1}, "arrays.ids.more: unknown key"),
]


@pytest.fixture
def gallery(tmp_path, tiny_gallery):
    return shutil.copytree(tiny_gallery.folder, tmp_path / "g")


def edit(folder, change):
    """Rewrite a folder's manifest after ``change`` worked on its content."""
    path = folder / MANIFEST
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refused(folder, sentence):
    """Opening and ``info --verify`` say the same sentence, which names the file."""
    with pytest.raises(GalleryError) as caught:
        Gallery(folder)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(str(folder)), "the file is named"
    done = run("info", folder, "--verify", "--json", code=1)
    assert json.loads(done.stdout)["problems"] == [str(caught.value)]


@pytest.mark.parametrize(("change", "sentence"), EDITS)
def test_edited_manifests_are_refused(gallery, change, sentence):
    edit(gallery, lambda content: content.update(change))
    refused(gallery, sentence)


@pytest.mark.parametrize(("name", "change", "sentence"), ARRAY_EDITS)
def test_edited_arrays_are_refused(gallery, name, change, sentence):
    edit(gallery, lambda content: content["arrays"][name].update(change))
    refused(gallery, sentence)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"spec": 1}, "encoder.spec: expected text, got 1"),
        ({"precision": None}, "encoder.precision: expected text, got None"),
        ({"pretrained": "yes"}, "encoder.pretrained: expected true or false"),
        ({"preprocessing": 3}, "encoder.preprocessing.image_size: expected [height, width]"),
        ({"preprocessing": {"image_size": [64]}}, "image_size: expected [height, width], got [64]"),
        ({"preprocessing": {"image_size": [64, 1 << 40]}}, "image_size: expected [height, width]"),
    ],
)
def test_records_of_which_no_encoder_can_be_loaded(gallery, change, sentence):
    edit(gallery, lambda content: content["encoder"].update(change))
    refused(gallery, sentence)


def test_info_and_verify_print_one_line(gallery):
    edit(gallery, lambda content: content.update(dim="x"))
    line = f'{gallery}/manifest.json: dim: expected a whole number, got "x"; damaged manifest'
    assert run("info", gallery, "--verify", code=1).stdout.startswith(f"DAMAGED {line}")
    assert line in run("info", gallery, code=2).stderr


def test_missing_renamed_and_unknown_keys(gallery):
    whole = (gallery / MANIFEST).read_text()
    for key in ("dim", "store", "encoder", "identity", "chunk", "regions", "arrays"):
        edit(gallery, lambda content, key=key: content.pop(key))
        refused(gallery, f"{key}: missing" if key != "arrays" else "arrays.ids: missing")
        (gallery / MANIFEST).write_text(whole)
    edit(gallery, lambda content: content["arrays"].update(more=content["arrays"]["boxes"]))
    refused(gallery, "arrays.more: none of ids, id_ends")
    (gallery / MANIFEST).write_text('{"format": 1, "format": 1}')
    refused(gallery, "the key 'format' stands twice")
    for text in ("[" * 5000, "[1]", "null", ""):
        (gallery / MANIFEST).write_text(text)
        refused(gallery, MANIFEST)


def change_ends(folder, name, change):
    """Change an array of int64 and its checksum, so that only its values can tell."""
    path = folder / f"{name}.bin"
    values = np.fromfile(path, "<i8")
    change(values)
    values.tofile(path)
    crc = zlib.crc32(path.read_bytes())
    edit(folder, lambda content: content["arrays"][name].update(crc32=crc))


def swap(values):
    values[[3, 4]] = values[[4, 3]]


ENDS = {
    "equal": (lambda values: values.__setitem__(2, values[1]), "row 2 ends at"),
    "falling": (swap, "not increasing"),
    "negative": (lambda values: values.__setitem__(0, -5), "row 0 ends at -5"),
    "beyond": (lambda values: values.__setitem__(-1, 10**12), "ends at 1000000000000, expected"),
    "short": (lambda values: values.__isub__(1), "expected|row 0"),
}


@pytest.mark.parametrize("how", ENDS)
def test_damaged_ends_of_ids_are_refused_at_first_use(gallery, how):
    change, sentence = ENDS[how]
    change_ends(gallery, "id_ends", change)
    opened = Gallery(gallery)
    with pytest.raises(GalleryError, match=rf"id_ends\.bin: .*({sentence})"):
        opened.rows_of(["01.png"])
    with pytest.raises(GalleryError, match=r"id_ends\.bin"):
        opened.pictures[0]
    assert any("id_ends" in problem for problem in verify(Gallery(gallery)))


@pytest.mark.parametrize("how", [name for name in ENDS if name != "equal"])
def test_damaged_ends_of_patches_are_refused_at_first_use(gallery, how):
    change, sentence = ENDS[how]
    change_ends(gallery, "patch_ends", change)
    with pytest.raises(GalleryError, match=rf"patch_ends\.bin: .*({sentence})"):
        Gallery(gallery).patch_ends  # noqa: B018
    assert any("patch_ends" in problem for problem in verify(Gallery(gallery)))


@pytest.mark.parametrize("name", ["ids", "id_ends", "patch_ends"])
def test_one_flipped_bit_is_refused_at_first_use(gallery, name):
    path = gallery / f"{name}.bin"
    raw = bytearray(path.read_bytes())
    raw[8] ^= 1
    path.write_bytes(raw)
    opened = Gallery(gallery)
    with pytest.raises(GalleryError, match=rf"{name}\.bin: checksum differs"):
        opened.patch_ends if name == "patch_ends" else opened.ids  # noqa: B018


def test_ids_that_are_no_text_or_stand_twice(gallery):
    path = gallery / "ids.bin"
    whole = path.read_bytes()

    def write(raw):
        path.write_bytes(raw)
        edit(gallery, lambda content: content["arrays"]["ids"].update(crc32=zlib.crc32(raw)))

    write(whole[:7] + b"\xff" + whole[8:])
    with pytest.raises(GalleryError, match=r"ids\.bin: the id of row 1 is not valid UTF-8"):
        Gallery(gallery).ids  # noqa: B018
    write(whole[:6] + whole[:6] + whole[12:])
    with pytest.raises(GalleryError, match=r"the id '01.png' stands twice"):
        Gallery(gallery).rows_of(["01.png"])
    assert any("stands twice" in problem for problem in verify(Gallery(gallery)))


def test_a_whitening_or_identity_that_is_another_ones(gallery, tmp_path, tiny_gallery):
    from patchrerank.encoders import Whitening
    from patchrerank.gallery import CompressOptions, compress

    edit(gallery, lambda content: content.update(identity="0" * 64))
    assert verify(Gallery(gallery)) == [
        "identity: 000000000000… is not that of the encoder and its whitening"
    ]
    compress(tiny_gallery, tmp_path / "w", CompressOptions("float32", whiten=8, progress=False))
    assert verify(Gallery(tmp_path / "w")) == []
    file = tmp_path / "w" / "whitening.npz"
    Whitening(np.zeros(16, np.float32), np.eye(16, 8, dtype=np.float32)).save(file)
    assert "not that of the encoder" in verify(Gallery(tmp_path / "w"))[0]
    Whitening(np.zeros(16, np.float32), np.eye(16, 7, dtype=np.float32)).save(file)
    assert "makes 7 dimensions, the gallery has 8" in verify(Gallery(tmp_path / "w"))[0]
    file.unlink()
    assert "whitening.npz" in verify(Gallery(tmp_path / "w"))[0]
    assert "DAMAGED" in run("info", tmp_path / "w", "--verify", code=1).stdout


LOCAL_EDITS = [
    ({"images": -1}, "images: must be at least 0"),
    ({"images": 3}, "arrays.ends.shape: expected [3]"),
    ({"descriptors": "5"}, "descriptors: expected a whole number"),
    ({"dim": 13}, "arrays.descriptors.shape: expected [8, 13]"),
    ({"store": "pq"}, "store: 'pq' is none of float32, float16, int8, binary"),
    ({"store": "binary"}, "arrays.descriptors.dtype: expected '|u1', got '<f4'"),
    ({"grids": [[0, 4]]}, "grids[0]: [0, 4] is no grid of cells"),
    ({"grids": [[1 << 40, 1 << 40]]}, "grids[0]: "),
    ({"grids": [4]}, "grids[0]: expected a list, got 4"),
    ({"grids": [[float("nan"), 4]]}, "grids[0][0]: expected a whole number, got NaN"),
    ({"ids_crc32": "1"}, "ids_crc32: expected a whole number"),
    ({"ids_crc32": -1}, "ids_crc32: -1 is no CRC-32"),
    ({"skipped": [1]}, "skipped[0]: expected a list"),
    ({"fingerprint": None}, "fingerprint: expected text"),
    ({"encoder": None}, "encoder: expected an object"),
]


@pytest.fixture
def local(tmp_path):
    from patchrerank.gallery.local_manifest import LocalManifest
    from patchrerank.gallery.local_writer import open_local_writer
    from patchrerank.types import LocalDescriptors

    plan = LocalManifest(12, "float32", {}, "same", "f", ((2, 2),), 8)
    vectors = np.eye(4, 12, dtype=np.float32)
    places = np.full((4, 2), 0.5, np.float32)
    picture = LocalDescriptors(vectors, places, np.zeros(4, np.int16), np.ones(4, np.float32))
    with open_local_writer(tmp_path / "local", plan) as writer:
        writer.commit([picture, picture])
        writer.finish()
    return tmp_path / "local"


@pytest.mark.parametrize(("change", "sentence"), LOCAL_EDITS)
def test_edited_manifests_of_local_stores(local, change, sentence):
    edit(local, lambda content: content.update(change))
    with pytest.raises(GalleryError) as caught:
        LocalStore(local)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(str(local / MANIFEST))


def test_damaged_ends_of_descriptors_are_refused_at_first_use(local):
    change_ends(local, "ends", lambda values: values.__setitem__(0, 9))
    with pytest.raises(GalleryError, match=r"ends\.bin: row 1 ends at 8, .*not increasing"):
        LocalStore(local).descriptors_of(0)
    (local / "ends.bin").write_bytes(np.array([4, 9], "<i8").tobytes())
    with pytest.raises(GalleryError, match=r"ends\.bin: checksum differs"):
        LocalStore(local).descriptors_of(0)


def test_info_answers_where_only_the_local_store_is_broken(gallery, local):
    shutil.move(local, gallery / "local")
    edit(gallery / "local", lambda content: content.update(dim="x"))
    shown = run("info", gallery).stdout
    assert "40 images" in shown and "local descriptors cannot be used" in shown
    assert "local/manifest.json: dim" in json.loads(run("info", gallery, "--json").stdout)["local"]
    assert "DAMAGED local: " in run("info", gallery, "--verify", "--quiet", code=1).stdout
