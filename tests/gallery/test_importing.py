"""Vectors that somebody has already become a gallery: the same bits, ids of every kind."""

from __future__ import annotations

import json
import subprocess
import sys
from uuid import UUID

import numpy as np
import pytest

from patchrerank.errors import EncoderError, GalleryError, PatchRerankError, QueryError
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, derive_gallery, import_gallery, verify
from patchrerank.gallery.manifest import MANIFEST
from patchrerank.kernels.norms import squared_norms
from patchrerank.pipeline import load_reranker
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import Patchify
from patchrerank.types import Queries

N, D = 40, 16
IDS = {
    "text": [f"fotos/Zoë {number}.jpg" for number in range(N)],
    "int": [number * 10**15 - 7 for number in range(N)],
    "uuid": [UUID(int=number << 90) for number in range(N)],
}
QUIET = {"progress": False, "encoder": "our CLIP, June"}


def unit(*shape, seed=0, dtype=np.float32):
    drawn = np.random.default_rng(seed).standard_normal(shape)
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(dtype)


WHOLE, COUNTS = unit(N, D), np.random.default_rng(1).integers(0, 6, N)
PATCHES = unit(int(COUNTS.sum()), D, seed=2)
BOXES = np.tile(np.array([0.1, 0.2, 0.5, 0.75], np.float32), (len(PATCHES), 1))


def small(folder, ids=None, **changes):
    given = {"counts": COUNTS, "store": "float32", **QUIET, **changes}
    whole, patches = given.pop("whole", WHOLE), given.pop("patches", PATCHES)
    return import_gallery(folder, IDS["text"] if ids is None else ids, whole, patches, **given)


@pytest.mark.parametrize("kind", IDS)
def test_everything_comes_back_as_it_was_given(tmp_path, kind):
    made = small(tmp_path / "g", IDS[kind], boxes=BOXES)
    assert list(made.ids) == IDS[kind] and made.manifest.id_type == kind
    assert {type(item) for item in made.ids} == {type(IDS[kind][0])}
    np.testing.assert_array_equal(made.global_vectors, WHOLE)
    np.testing.assert_array_equal(made.patches, PATCHES)
    np.testing.assert_array_equal(made.boxes, BOXES)
    np.testing.assert_array_equal(made.patch_ends, np.cumsum(COUNTS))
    assert verify(made) == [] and made.manifest.regions == "given"


@pytest.mark.parametrize("kind", IDS)
def test_ranking_equals_brute_force(tmp_path, kind):
    made = small(tmp_path / "g", IDS[kind], boxes=BOXES, store="float16")
    query, asked = unit(D, seed=5), IDS[kind][::-1]
    scores = np.linspace(1, 0, N).tolist()
    hits = Patchify(made, fusion=Fusion(0.3, 4.0)).rank(query, asked, scores)
    ends = np.cumsum(COUNTS)
    parts = [PATCHES[end - count : end] for end, count in zip(ends, COUNTS, strict=True)]
    local = {
        item: float((part.astype(np.float16).astype(np.float32) @ query).max())
        for item, part in zip(IDS[kind], parts, strict=True)
        if len(part)
    }
    for hit in hits:
        if hit.id in local:
            assert hit.local_score == pytest.approx(local[hit.id], abs=1e-6)
            assert hit.box == pytest.approx((0.1, 0.2, 0.5, 0.75))
    fused = {
        item: 0.3 * score + 0.7 / (1 + np.exp(-4 * local[item]))
        for item, score in zip(asked, scores, strict=True)
        if item in local
    }
    best = [hit.id for hit in hits if hit.id in local]
    assert best == sorted(fused, key=fused.get, reverse=True)


def test_files_are_taken_as_arrays_are(tmp_path):
    arrays = {"globals": WHOLE, "patches": PATCHES, "boxes": BOXES, "counts": COUNTS}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "ids.txt").write_text("\n".join(IDS["text"]) + "\n", encoding="utf-8")
    (tmp_path / "ids.json").write_text(json.dumps(IDS["int"]))
    (tmp_path / "uuids.txt").write_text("".join(f"{item}\r\n" for item in IDS["uuid"]))
    paths = {name: tmp_path / f"{name}.npy" for name in arrays}
    whole, patches = paths.pop("globals"), paths.pop("patches")
    for name, kind in (("ids.txt", "text"), ("ids.json", "int"), ("uuids.txt", "uuid")):
        made = import_gallery(
            tmp_path / kind, tmp_path / name, whole, str(patches), **paths, id_type=kind, **QUIET
        )
        assert list(made.ids) == IDS[kind]
        np.testing.assert_array_equal(made.patches, PATCHES.astype(np.float16))
        np.testing.assert_array_equal(made.boxes, BOXES)


@pytest.mark.parametrize("ids", [np.array(IDS["text"]), np.array(IDS["text"], dtype=object)])
def test_numpy_text(tmp_path, ids):
    assert list(small(tmp_path / "g", ids).ids) == IDS["text"]


def test_numpy_numbers_and_bytes_of_uuids(tmp_path):
    assert list(small(tmp_path / "a", np.array(IDS["int"])).ids) == IDS["int"]
    raw = np.frombuffer(b"".join(item.bytes for item in IDS["uuid"]), np.uint8).reshape(-1, 16)
    assert list(small(tmp_path / "b", raw).ids) == IDS["uuid"]


def test_counts_ends_padding_and_one_number_say_the_same(tmp_path):
    by_ends = small(tmp_path / "a", counts=np.cumsum(COUNTS))
    padded = np.full((N, 6, D), np.nan, dtype=np.float32)
    start = 0
    for row, count in enumerate(COUNTS):
        padded[row, :count] = PATCHES[start : start + count]
        start += count
    by_padding = small(tmp_path / "b", patches=padded)
    for made in (by_ends, by_padding):
        np.testing.assert_array_equal(made.patches, PATCHES)
        np.testing.assert_array_equal(made.patch_ends, np.cumsum(COUNTS))
    five = unit(N, 5, D)
    made = small(tmp_path / "c", patches=five, counts=None)
    also = small(tmp_path / "d", patches=five.reshape(-1, D), counts=5)
    np.testing.assert_array_equal(made.patches, also.patches)
    assert made.patch_ends.tolist() == also.patch_ends.tolist() == list(range(5, 201, 5))


def test_a_region_strategy_gives_boxes_or_refuses(tmp_path):
    made = small(tmp_path / "a", patches=unit(N, 5, D), counts=None, regions="grid:1")
    whole, quarters = made.boxes[0], made.boxes[1:5]
    assert whole.tolist() == [0, 0, 1, 1] and quarters[0].tolist() == [0, 0, 0.5, 0.5]
    np.testing.assert_array_equal(made.boxes[-5:], made.boxes[:5])
    assert made.manifest.regions == "grid:1" and verify(made) == []
    with pytest.raises(GalleryError, match=r"grid:1: gives 5 an image, but 'fotos.* has \d"):
        small(tmp_path / "b", regions="grid:1")
    with pytest.raises(GalleryError, match="differ from picture to picture"):
        small(tmp_path / "b", regions="selective:5")
    assert small(tmp_path / "c", boxes=BOXES, regions="grid:1").manifest.regions == "grid:1"


def test_without_boxes_hits_have_none(tmp_path):
    made = small(tmp_path / "g")
    assert made.manifest.regions == "none" and not made.has_boxes and verify(made) == []
    assert "boxes" not in made.nbytes() and np.isnan(made.boxes).all()
    hits = load_reranker(made, "patchify").rank(unit(D), IDS["text"][:10])
    assert [hit.box for hit in hits] == [None] * 10
    with pytest.raises(GalleryError, match="patches have no boxes to refine by; import it with bo"):
        load_reranker(made, "patchify+refine")


def test_queries_must_be_of_the_model_that_was_named(tmp_path):
    made = small(tmp_path / "g")
    for encoder in (None, "our CLIP, June"):
        made.check_queries(Queries(WHOLE[:1], encoder=encoder))
    with pytest.raises(QueryError, match=r"imported with vectors of 'our CLIP, June'"):
        made.check_queries(Queries(WHOLE[:1], encoder="our CLIP, May"))
    with pytest.raises(QueryError, match=r"was imported, with vectors of 'our CLIP, June'"):
        load_reranker(made).rank("query.jpg", IDS["text"][:2])
    with pytest.raises(QueryError, match=r"8 dimensions, .* has 16; encode them with what made"):
        made.check_queries(Queries(unit(1, 8)))


def test_vectors_of_an_encoder_of_ours(tmp_path, tiny_encoder):
    dim = tiny_encoder.dim
    made = import_gallery(
        tmp_path / "g",
        ["a", "b"],
        unit(2, dim),
        unit(2, 5, dim),
        regions="grid:1",
        store="float32",
        encoder=tiny_encoder,
        progress=False,
    )
    assert made.manifest.identity == tiny_encoder.fingerprint and verify(made) == []
    made.check_queries(Queries(unit(1, dim), encoder=tiny_encoder.fingerprint))
    with pytest.raises(GalleryError, match="sizes of its pictures are not known"):
        derive_gallery(made, tmp_path / "h", tiny_encoder, GridPyramid(0))
    short = {"whole": unit(N, 8), "patches": unit(len(PATCHES), 8)}
    with pytest.raises(GalleryError, match=rf"8 dimensions, those of .* have {dim}"):
        small(tmp_path / "i", encoder=tiny_encoder, **short)
    with pytest.raises(EncoderError):
        small(tmp_path / "i", encoder="timm:no_such_model")


def test_normalise(tmp_path):
    scale = np.random.default_rng(0).uniform(0.1, 30, (len(PATCHES), 1)).astype(np.float32)
    for dtype in (np.float16, np.float32, np.float64):
        whole, patches = (3 * WHOLE).astype(dtype), (scale * PATCHES).astype(dtype)
        made = small(tmp_path / dtype.__name__, whole=whole, patches=patches, normalise=True)
        np.testing.assert_allclose(made.patches, PATCHES, atol=1e-3)
        assert verify(made) == []


@pytest.mark.parametrize("store", ["float16", "int8"])
def test_stores(tmp_path, store):
    made = small(tmp_path / "g", patches=PATCHES.astype(np.float64), store=store)
    decoded = made.patch_store.decode(np.arange(len(PATCHES)))
    np.testing.assert_allclose(decoded, PATCHES, atol=6e-3)
    assert verify(made) == []


def test_more_than_one_block(tmp_path, monkeypatch):
    monkeypatch.setattr("patchrerank.gallery.row_sources.BLOCK_BYTES", 300)
    monkeypatch.setattr("patchrerank.gallery.import_ids.BLOCK", 7)
    np.save(tmp_path / "p.npy", PATCHES)
    made = small(tmp_path / "g", patches=tmp_path / "p.npy", boxes=BOXES)
    np.testing.assert_array_equal(made.patches, PATCHES)
    assert list(made.ids) == IDS["text"]


def test_half_floats_have_the_norms_of_numpy():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 2)
    with np.errstate(all="ignore"):
        slow = (every.astype(np.float32) ** 2).sum(axis=1)
    np.testing.assert_allclose(squared_norms(every), slow, rtol=1e-6)


KILLED = """
import os, sys, numpy as np
from patchrerank.gallery import import_gallery, arrays
append, left = arrays.ArrayFiles.append, [int(sys.argv[2])]
def killing(self, columns):
    append(self, columns); self.flush(); left[0] -= 1
    if not left[0]: os.kill(os.getpid(), 9)
arrays.ArrayFiles.append = killing
unit = np.full((40, 16), 0.25, np.float32)
import_gallery(sys.argv[1], range(40), unit, unit[:, None], encoder="x", progress=False)
"""


@pytest.mark.parametrize(
    "appends", [2, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 3))]
)
def test_a_killed_import_is_no_gallery_and_the_next_begins_anew(tmp_path, appends):
    folder = tmp_path / "g"
    done = subprocess.run([sys.executable, "-c", KILLED, folder, str(appends)])
    assert done.returncode == -9 and not (folder / MANIFEST).exists()
    with pytest.raises(GalleryError):
        Gallery(folder)
    made = small(folder, boxes=BOXES)
    assert verify(made) == []
    np.testing.assert_array_equal(made.patches, PATCHES)
    with pytest.raises(GalleryError, match="there is a gallery already"):
        small(folder)
    assert verify(Gallery(folder)) == []


def spoiled(array, row, value):
    array = array.copy()
    array[row] = value
    return array


BAD = {
    "sum": ({"counts": COUNTS + 1}, r"counts: they add up to \d+ and end at \d+, but patches has"),
    "length": ({"counts": COUNTS[:-1]}, "counts: 39 numbers for 40 images"),
    "negative": ({"counts": spoiled(COUNTS, 3, -1)}, "counts: -1 at position 3"),
    "no counts": ({"counts": None}, "need counts, how many each image has"),
    "float counts": ({"counts": COUNTS * 1.0}, "counts: float64"),
    "NaN patch": ({"patches": spoiled(PATCHES, 17, np.nan)}, r"patches: row 17, of 'fotos.*NaN"),
    "inf global": ({"whole": spoiled(WHOLE, 5, np.inf)}, r"globals: row 5, of 'fotos/Zoë 5.jpg'"),
    "zero": ({"patches": spoiled(PATCHES, 1, 0)}, "patches: row 1, of .* is all zeros"),
    "zero, normalised": (
        {"patches": spoiled(PATCHES, 1, 0), "normalise": True},
        "patches: row 1, of .* is all zeros",
    ),
    "norm": ({"whole": 2 * WHOLE}, r"globals: row 0, .* norm 2 in place of 1; .*normalise=True"),
    "dimensions": ({"whole": unit(N, 8)}, "globals: 8 dimensions, but patches has 16"),
    "images": ({"whole": WHOLE[1:]}, "globals: 39 vectors, but there are 40 ids"),
    "dtype": ({"whole": (WHOLE * 9).astype(np.int8)}, "globals: holds int8"),
    "shape": ({"whole": WHOLE[:, None]}, r"globals: has the shape \(40, 1, 16\)"),
    "ragged": ({"patches": [[[1.0]], [[1.0], [1.0]]]}, "patches: .* is no array"),
    "no file": ({"patches": "absent.npy"}, "absent.npy: cannot be read"),
    "box": ({"boxes": spoiled(BOXES, 4, 2)}, "boxes, counted from row 0: box 4 is"),
    "boxes": ({"boxes": BOXES[1:]}, "a box for each of"),
    "store": ({"store": "pq"}, "need a trained quantiser"),
    "no encoder": ({"encoder": " "}, "encoder is empty"),
    "root": ({"root": "no/such/folder"}, "no such folder of pictures"),
    "regions": ({"regions": "gird:3"}, "did you mean grid"),
}
BAD_IDS = {
    "twice": ([*IDS["text"][:-1], IDS["text"][0]], r"Zoë 0.jpg' stands twice, .* position 39"),
    "empty": ([*IDS["text"][:-1], ""], "the one at position 39 is empty"),
    "kinds": ([*IDS["text"][:-1], 7], "7 at position 39 is a whole number, those before it are te"),
    "truth": ([*IDS["int"][:-1], True], "True at position 39 is a bool"),
    "large": ([*IDS["int"][:-1], 2**63], f"{2**63} at position 39 is no number of 64 bits"),
    "float": ([*IDS["int"][:-1], 1.5], "1.5 at position 39 is a float"),
    "unicode": ([*IDS["text"][:-1], "\ud800"], "at position 39 is no UTF-8"),
    "none": ([], "there are no ids"),
    "numbers": (np.zeros(N), "ids: an array of float64"),
    "fewer": (IDS["text"][:-1], "40 vectors, but there are 39 ids"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_nothing_is_written(tmp_path, case):
    changes, message = BAD[case]
    with pytest.raises(PatchRerankError, match=message) as caught:
        small(tmp_path / "g", **changes)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", BAD_IDS)
def test_bad_ids_are_one_sentence_and_nothing_is_written(tmp_path, case):
    ids, message = BAD_IDS[case]
    with pytest.raises(PatchRerankError, match=message):
        small(tmp_path / "g", ids)
    assert not list(tmp_path.iterdir())


def test_texts_that_are_no_numbers(tmp_path):
    with pytest.raises(GalleryError, match=r"'1\.5' at position 1 is no number of 64 bits"):
        small(tmp_path / "g", ["1", "1.5"], id_type="int")
    with pytest.raises(GalleryError, match="'x' at position 0 is no UUID"):
        small(tmp_path / "g", ["x"], id_type="uuid")
    with pytest.raises(GalleryError, match="the ids are whole numbers, and id_type is 'uuid'"):
        small(tmp_path / "g", [1, 2], id_type="uuid")


def test_files_of_others_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(GalleryError, match=r"holds 'notes.txt'"):
        small(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
