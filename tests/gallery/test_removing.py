"""Rows that were removed: found by nobody, counted by nobody, and gone once compacted."""

from __future__ import annotations

import json
import pickle
import shutil
from uuid import UUID

import numpy as np
import pytest

from drawn_galleries import draw_gallery
from patchrerank.errors import GalleryError, ShortlistError
from patchrerank.first_stage import FaissFile, GlobalSearch, PatchSearch, build_patch_index
from patchrerank.gallery import (
    CompressOptions,
    Gallery,
    compact,
    compress,
    export_gallery,
    id_table,
    import_gallery,
    remove,
    verify,
)
from patchrerank.gallery.folder import lock_folder
from patchrerank.gallery.vector_files import read_vectors
from patchrerank.rerankers import Patchify
from patchrerank.types import EMPTY, Queries

IDS = {
    "text": [f"p/{n:03d}.jpg" for n in range(60)],
    "int": [n * n - 7 for n in range(60)],
    "uuid": [UUID(int=n << 70) for n in range(60)],
}
GONE = [0, 3, 4, 5, 30, 59]
LEFT = [n for n in range(60) if n not in GONE]


def drawn(folder, kind="text", store="float16"):
    counts = [n % 4 for n in range(60)]
    return draw_gallery(folder, IDS[kind], counts, 16, store=store, id_type=kind)


@pytest.fixture(params=[False, True], ids=["no table", "table"])
def tables(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(id_table, "TABLE_FROM", 1)
    return request.param


def names(gallery):
    return list(gallery.ids.living())


def of_rows(gallery, rows):
    """Return all that a gallery holds of some rows, with rows of patches one an image."""
    ends = np.asarray(gallery.patch_ends)
    begins = np.concatenate([[0], ends[:-1]])
    spans = [np.arange(begins[row], ends[row]) for row in rows]
    return [
        (
            gallery.ids[row],
            gallery.global_vectors[row].tolist(),
            gallery.sizes[row].tolist(),
            gallery.patch_store.decode(span).tolist(),
            gallery.boxes[span].tolist(),
        )
        for row, span in zip(rows, spans, strict=True)
    ]


@pytest.mark.parametrize("kind", IDS)
def test_removed_ids_are_not_found_and_rows_keep_their_numbers(tmp_path, kind, tables):
    before = drawn(tmp_path / "g", kind)
    ids = IDS[kind]
    after = remove(tmp_path / "g", [ids[row] for row in GONE])
    assert (len(after), after.live_count, after.live.tolist()) == (60, 54, LEFT)
    assert names(after) == [ids[row] for row in LEFT]
    assert ids[3] not in after.ids and ids[6] in after.ids
    assert after.rows_of([ids[6], ids[58]]).tolist() == [6, 58]
    with pytest.raises(ShortlistError, match="1 of 2 ids are not in the gallery"):
        after.rows_of([ids[6], ids[3]])
    assert before.rows_of([ids[3]]).tolist() == [3] and before.live_count == 60
    assert verify(after) == [] and "54 images (6 rows removed)" in repr(after)
    assert sorted(path.name for path in (tmp_path / "g").glob("removed*")) == ["removed.bin"]


def test_more_are_removed_later_and_whoever_has_it_open_keeps_what_it_had(tmp_path):
    drawn(tmp_path / "g")
    first = remove(tmp_path / "g", IDS["text"][:2])
    second = remove(tmp_path / "g", [IDS["text"][50], IDS["text"][50]])
    assert (first.live_count, second.live_count) == (58, 57)
    assert [path.name for path in (tmp_path / "g").glob("removed*")] == ["removed.1.bin"]
    assert names(first) == IDS["text"][2:]  # its file is gone, its pages are not
    assert remove(tmp_path / "g", []).live_count == 57
    assert pickle.loads(pickle.dumps(first)).live_count == 57  # opened again there


def test_nothing_is_removed_if_one_of_the_ids_is_unknown(tmp_path):
    drawn(tmp_path / "g")
    kept = (tmp_path / "g/manifest.json").read_bytes()
    with pytest.raises(ShortlistError, match="1 of 2 ids are not in the gallery"):
        remove(tmp_path / "g", ["p/001.jpg", "p/1.jpg"])
    with pytest.raises(ShortlistError, match="id 1 is a int"):
        remove(tmp_path / "g", [1])
    with lock_folder(tmp_path / "g"), pytest.raises(GalleryError, match="another process"):
        remove(tmp_path / "g", ["p/001.jpg"])
    assert (tmp_path / "g/manifest.json").read_bytes() == kept
    remove(tmp_path / "g", ["p/001.jpg"])
    with pytest.raises(ShortlistError, match="not in the gallery"):
        remove(tmp_path / "g", ["p/001.jpg"])


def test_all_may_be_removed(tmp_path):
    drawn(tmp_path / "g")
    empty = remove(tmp_path / "g", IDS["text"])
    assert (
        empty.live_count == 0 and GlobalSearch(empty).search(queries_of(empty)).rows.shape[1] == 0
    )
    again = compact(tmp_path / "g")
    assert len(again) == 0 and verify(again) == []
    assert sum(path.stat().st_size for path in (tmp_path / "g").glob("*.bin")) == 0


def queries_of(gallery):
    vectors = gallery.global_vectors[[3, 6, 30, 59]] + gallery.global_vectors[[8, 9, 10, 11]]
    return Queries(np.float32(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))


@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat", "HNSW8", "L2norm,IVF2,Flat"])
def test_first_stages_find_the_living_and_as_many_as_are_asked_for(tmp_path, factory):
    whole = drawn(tmp_path / "g")
    queries = queries_of(whole)
    build_patch_index(whole, tmp_path / "before", factory, progress=False)
    after = remove(tmp_path / "g", [IDS["text"][row] for row in GONE])
    build_patch_index(after, tmp_path / "after", factory, progress=False)
    found = GlobalSearch(after, factory).search(queries, 500)
    assert found.rows.shape == (4, 54) and not set(found.rows.ravel()) & set(GONE)
    if factory == "Flat":
        slow = queries.vectors @ after.global_vectors[LEFT].T
        assert found.rows.tolist() == np.asarray(LEFT)[np.argsort(-slow, axis=1)].tolist()
        assert np.allclose(found.scores, -np.sort(-slow, axis=1))
    probes = 4 if factory == "IVF4,Flat" else 2 if "IVF" in factory else None
    both = [
        PatchSearch(after, tmp_path / name, probes).search(queries, 500)
        for name in ("before", "after")
    ]
    searched = {row for row in LEFT if row % 4}
    for result in both:
        rows = result.shortlist.rows
        assert not set(rows.ravel()) & set(GONE)
        if factory != "HNSW8":
            assert [set(row[row != EMPTY]) for row in rows] == [searched] * 4
    if factory != "HNSW8":
        assert np.array_equal(both[0].boxes, both[1].boxes, equal_nan=True)


def test_labels_of_an_index_file_that_were_removed_are_passed_over_or_told(tmp_path):
    import faiss

    whole = drawn(tmp_path / "g")
    index = faiss.IndexFlatIP(16)
    index.add(np.asarray(whole.global_vectors))
    faiss.write_index(index, str(tmp_path / "f.faiss"))
    after = remove(tmp_path / "g", [IDS["text"][row] for row in GONE])
    queries = queries_of(whole)
    stage = FaissFile(after, tmp_path / "f.faiss", missing="drop")
    assert np.array_equal(stage.search(queries).rows, GlobalSearch(after).search(queries).rows)
    assert (
        FaissFile(after, tmp_path / "f.faiss", missing="drop").search(queries, 50).rows.min() >= 0
    )
    with pytest.raises(ShortlistError, match="are no images of the gallery"):
        FaissFile(after, tmp_path / "f.faiss").search(queries)
    with pytest.raises(ShortlistError, match="missing='drop'"):
        FaissFile(after, tmp_path / "f.faiss", ids=IDS["text"])
    compact(tmp_path / "g")
    with pytest.raises(Exception, match="holds 60 vectors"):
        FaissFile(Gallery(tmp_path / "g"), tmp_path / "f.faiss")


@pytest.mark.parametrize("store", ["float16", "int8"])
@pytest.mark.parametrize("kind", IDS)
def test_compacting_keeps_what_lives(tmp_path, kind, store, tables):
    before = drawn(tmp_path / "g", kind, store)
    removed = remove(tmp_path / "g", [IDS[kind][row] for row in GONE])
    after = compact(tmp_path / "g")
    assert len(after) == after.live_count == 54 and verify(after) == []
    assert of_rows(after, range(54)) == of_rows(before, LEFT) == of_rows(removed, LEFT)
    assert after.rows_of([IDS[kind][58]]).tolist() == [53]
    assert len(list((tmp_path / "g").glob("*.bin"))) == len(after.manifest.arrays)
    assert sum(after.nbytes().values()) < sum(before.nbytes().values())
    assert compact(tmp_path / "g").manifest == after.manifest


def test_an_object_pickled_before_is_not_opened_after_compacting(tmp_path):
    drawn(tmp_path / "g")
    pickled = pickle.dumps(remove(tmp_path / "g", [IDS["text"][0]]))
    compact(tmp_path / "g")
    with pytest.raises(GalleryError, match="was compacted since it was pickled"):
        pickle.loads(pickled)


def test_a_patch_index_made_before_is_refused_once_compacted_and_filled_again(tmp_path):
    whole = drawn(tmp_path / "g")
    build_patch_index(whole, tmp_path / "i", "Flat", progress=False)
    remove(tmp_path / "g", [IDS["text"][row] for row in GONE])
    after = compact(tmp_path / "g")
    with pytest.raises(GalleryError, match="built over other patches"):
        PatchSearch(after, tmp_path / "i")


@pytest.mark.parametrize("format", ["npy", "hdf5", "parquet"])
@pytest.mark.parametrize("kind", IDS)
def test_only_the_living_are_exported(tmp_path, kind, format):
    pytest.importorskip("pyarrow" if format == "parquet" else "h5py")
    drawn(tmp_path / "g", kind, "int8" if kind == "int" else "float16")
    removed = remove(tmp_path / "g", [IDS[kind][row] for row in GONE])
    end = {"npy": "", "hdf5": ".h5", "parquet": ".parquet"}[format]
    export_gallery(removed, tmp_path / f"out{end}", format, progress=False)
    found = read_vectors(tmp_path / f"out{end}")
    taken = import_gallery(
        tmp_path / "again", found.ids, found.global_vectors, found.patches, found.counts,
        boxes=found.boxes, encoder="drawn", normalise=True, store="float32", progress=False,
    )  # fmt: skip
    compacted = compact(tmp_path / "g")
    assert list(taken.ids) == list(compacted.ids)
    assert np.array_equal(taken.patch_ends, compacted.patch_ends)
    assert np.allclose(taken.global_vectors, compacted.global_vectors, atol=1e-6)
    assert np.array_equal(taken.boxes, compacted.boxes)


@pytest.mark.parametrize("store", ["int8", "pq", "rabitq2", "rabitq1+int8", "pq+float16"])
def test_only_the_living_are_compressed(tmp_path, store):
    drawn(tmp_path / "g", store="float32")
    remove(tmp_path / "g", [IDS["text"][row] for row in GONE])
    options = CompressOptions(store, m=4, nbits=4, progress=False)
    compress(Gallery(tmp_path / "g"), tmp_path / "small", options)
    shutil.copytree(tmp_path / "g", tmp_path / "h")
    compress(compact(tmp_path / "h"), tmp_path / "twin", options)
    small, twin = Gallery(tmp_path / "small"), Gallery(tmp_path / "twin")
    assert verify(small) == [] and small.manifest == twin.manifest


def test_compacting_after_compressing_keeps_the_quantiser(tmp_path):
    whole = drawn(tmp_path / "g", store="float32")
    compress(whole, tmp_path / "pq", CompressOptions("pq", m=4, nbits=4, progress=False))
    before = remove(tmp_path / "pq", [IDS["text"][row] for row in GONE])
    after = compact(tmp_path / "pq")
    assert of_rows(after, range(54)) == of_rows(before, LEFT) and verify(after) == []


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"dtype": "<i8"}, r"arrays\.removed\.dtype: expected '\|u1'"),
        ({"shape": [61]}, r"arrays\.removed\.shape: expected \[60\], got \[61\]"),
        ({"shape": [-1]}, r"arrays\.removed\.shape"),
        ({"shape": []}, r"arrays\.removed\.shape"),
        ({"generation": 7}, r"removed\.7\.bin: is missing"),
    ],
)
def test_flags_that_cannot_be_are_told(tmp_path, edit, message):
    drawn(tmp_path / "g")
    remove(tmp_path / "g", [IDS["text"][59]])
    path = tmp_path / "g/manifest.json"
    made = json.loads(path.read_text())
    made["arrays"]["removed"].update(edit)
    path.write_text(json.dumps(made))
    with pytest.raises(GalleryError, match=message):
        Gallery(tmp_path / "g")


def test_damaged_flags_are_told(tmp_path):
    drawn(tmp_path / "g")
    remove(tmp_path / "g", IDS["text"][:3])
    (tmp_path / "g/removed.bin").write_bytes(bytes([1, 0, 1]))
    with pytest.raises(GalleryError, match=r"removed\.bin: checksum differs"):
        _ = Gallery(tmp_path / "g").live
    assert any("removed.bin: checksum" in line for line in verify(Gallery(tmp_path / "g")))


def test_rows_that_were_removed_are_no_candidates(tmp_path):
    drawn(tmp_path / "g")
    reranker = Patchify(remove(tmp_path / "g", IDS["text"][:3]))
    query = np.eye(1, 16, dtype=np.float32)
    with pytest.raises(ShortlistError, match="2 rows were removed from the gallery"):
        reranker.rank_arrays(query, rows=[[5, 2, 0, 7]])
    assert reranker.rank_arrays(query, rows=[[5, 7, -1]]).rows[0, -1] == -1
    hits = reranker.rank(query[0], ["p/001.jpg", "p/007.jpg"], missing="drop")
    assert [hit.id for hit in hits] == ["p/007.jpg"]
