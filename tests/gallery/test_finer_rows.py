"""Codes with finer rows beside them, through all that changes, checks and reads a gallery."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from drawn_galleries import draw_gallery
from drawn_shards import draw_local
from patchrerank.gallery import (
    BuildOptions,
    CompressOptions,
    Gallery,
    SyncOptions,
    build_gallery,
    compact,
    compress,
    export_gallery,
    import_gallery,
    merge,
    read_vectors,
    remove,
    replace_vectors,
    sync,
    verify,
)
from patchrerank.gallery.stores import split_store
from patchrerank.pipeline import load_reranker
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import Patchify

STORES = ("rabitq1+float16", "pq+int8")
by_store = pytest.mark.parametrize("store", STORES)
NAMES = [f"{n:02d}.jpg" for n in range(30)]
COUNTS = [n % 4 for n in range(30)]
GONE = [0, 3, 17, 29]
LEFT = [n for n in range(30) if n not in GONE]


def drawn(folder, store, name="g"):
    """The gallery of a store, and the one of its finer rows alone."""
    whole = draw_gallery(folder / f"{name}-whole", NAMES, COUNTS, 16, store="float32")
    draw_local(whole)
    found = []
    for kind in (store, split_store(store)[1]):
        compress(
            whole, folder / f"{name}-{kind}", CompressOptions(kind, m=4, nbits=4, progress=False)
        )
        found.append(Gallery(folder / f"{name}-{kind}"))
    return found


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def queries(count=3):
    return unit(np.random.default_rng(5).standard_normal((count, 16)))


def rows_of(gallery, images):
    """All rows of some images: codes and finer ones, with scales."""
    ends = np.asarray(gallery.patch_ends)
    rows = np.concatenate([np.arange(ends[n - 1] if n else 0, ends[n]) for n in images])
    names = ("patches", "patch_scales", "exact_patches", "exact_scales", "boxes")
    held = gallery.manifest.arrays
    return {name: np.asarray(gallery.array(name)[rows]).tolist() for name in names if name in held}


def same_hits(one, other, ids=NAMES, **how):
    for query in queries():
        found, expected = (load_reranker(each, **how).rank(query, ids) for each in (one, other))
        assert found == expected


@by_store
def test_removed_compacted_and_compressed_again(tmp_path, store):
    both, fine = drawn(tmp_path, store)
    before = rows_of(both, LEFT)
    for gallery in (both, fine):
        remove(gallery.folder, [NAMES[n] for n in GONE])
    living = [NAMES[n] for n in LEFT]
    same_hits(Gallery(both.folder), Gallery(fine.folder), living)
    after = compact(both.folder)
    assert verify(after) == []
    assert rows_of(after, range(len(LEFT))) == before
    same_hits(after, compact(fine.folder), living)


@by_store
def test_of_shards_and_joined_again(tmp_path, store):
    both, fine = drawn(tmp_path, store)
    shutil.copytree(both.folder, tmp_path / "other")
    remove(tmp_path / "other", NAMES[:20])
    remove(both.folder, NAMES[20:])
    joined = merge(tmp_path / "set", [both.folder, tmp_path / "other"], progress=False)
    copied = merge(tmp_path / "one", [joined], copy=True, progress=False)
    for gallery in (joined, copied):
        assert verify(gallery) == []
        assert gallery.manifest.store == store
        same_hits(gallery, fine)
        few = Gallery(gallery.folder, rescore=2)
        assert few.patch_store.rescore == 2
        same_hits(few, Gallery(copied.folder, rescore=2))
    assert compact(copied.folder).live_count == 30


@by_store
def test_damage_of_either_is_named(tmp_path, store):
    both, _ = drawn(tmp_path, store)
    held = [name for name in both.files() if name.startswith(("exact_", "patches"))]
    assert len(held) == 2 + (split_store(store)[1] == "int8")
    for name in held:
        path = both.files()[name]
        whole = path.read_bytes()
        path.write_bytes(bytes([whole[0] ^ 255, *whole[1:]]))
        assert [line for line in verify(Gallery(both.folder)) if name in line]
        path.write_bytes(whole)
    assert verify(Gallery(both.folder)) == []


@by_store
@pytest.mark.parametrize("format", ["npy", "hdf5", "parquet"])
def test_finer_rows_are_exported_and_taken_back(tmp_path, store, format):
    both, fine = drawn(tmp_path, store)
    for name, gallery in (("b", both), ("f", fine)):
        out = tmp_path / f"{name}{'' if format == 'npy' else '.' + format}"
        export_gallery(gallery, out, format, progress=False)
        found = read_vectors(out)
        import_gallery(
            tmp_path / f"{name}-again", found.ids, found.global_vectors, found.patches,
            found.counts, boxes=found.boxes, encoder="drawn", normalise=True, store="float32",
            progress=False,
        )  # fmt: skip
    one, other = (Gallery(tmp_path / f"{name}-again") for name in "bf")
    assert np.array_equal(one.patches, other.patches)
    again = tmp_path / "codes"
    compress(one, again, CompressOptions(store, m=4, nbits=4, progress=False))
    assert verify(Gallery(again)) == []


@by_store
def test_replaced_vectors_are_coded_twice(tmp_path, store):
    both, fine = drawn(tmp_path, store)
    new = unit(np.random.default_rng(9).standard_normal((5, 16)))
    names = [NAMES[4], "new.jpg"]
    for gallery in (both, fine):
        replace_vectors(
            gallery.folder, names, new[:2], new, [2, 3], boxes=np.tile([0.0, 0, 1, 1], (5, 1)),
            append=True,
        )  # fmt: skip
    one, other = Gallery(both.folder), Gallery(fine.folder)
    assert verify(one) == []
    same_hits(one, other, [*NAMES, "new.jpg"])
    by_codes = Gallery(both.folder, rescore=1)
    assert load_reranker(by_codes).rank(new[4], names)[0].id == "new.jpg"


def test_a_folder_is_followed(tmp_path, tiny_encoder, photo_folder):
    photos = tmp_path / "photos"
    shutil.copytree(photo_folder, photos)
    how = BuildOptions(progress=False, store="rabitq2+int8")
    build_gallery(tmp_path / "g", photos, tiny_encoder, GridPyramid(1), how)
    (photos / "01.png").unlink()
    shutil.copyfile(photos / "02.png", photos / "99.png")
    told = SyncOptions(progress=False)
    synced = sync(photos, tmp_path / "g", told, encoder=tiny_encoder)
    assert (synced.added, synced.removed) == (("99.png",), ("01.png",))
    followed = Gallery(tmp_path / "g")
    assert verify(followed) == []
    fresh = build_gallery(tmp_path / "h", photos, tiny_encoder, GridPyramid(1), how)
    vector = np.asarray(fresh.global_vectors[0])
    for rescore in (0, 3, None):
        one, other = (
            load_reranker(Gallery(tmp_path / name, rescore=rescore)).rank(vector, list(fresh.ids))
            for name in "gh"
        )
        assert [hit.id for hit in one[:3]] == [hit.id for hit in other[:3]]


@by_store
@pytest.mark.parametrize(
    "stages", ["patchify", "patchify+refine-patches:10:0.3:4", "patchify:20:0.3:4"]
)
def test_any_number_is_rescored(tmp_path, store, stages):
    both, fine = drawn(tmp_path, store)
    lists, asked = [NAMES, NAMES[:1], [], NAMES[9::-1]], list(queries(4))
    for rescore in (0, 1, 29, 30, 10**9):
        opened = Gallery(both.folder, rescore=rescore)
        ranker = load_reranker(opened, stages)
        batch = ranker.rank_batch(asked, lists)
        assert batch == [ranker.rank(*pair) for pair in zip(asked, lists, strict=True)]
        arrays = ranker.rank_arrays(np.stack(asked[:1]), rows=[np.arange(30)])
        assert list(opened.ids.at(arrays.rows[0])) == [hit.id for hit in batch[0]]
        scores = [hit.local_score for hit in batch[0]]
        np.testing.assert_array_equal(arrays.local_scores[0], np.array(scores, dtype=np.float32))
        if rescore >= 30:
            assert batch == load_reranker(fine, stages).rank_batch(asked, lists)


@pytest.mark.parametrize("store", ["int8", "rabitq2", "rabitq2+int8"])
@pytest.mark.parametrize("names", [[], NAMES])
def test_galleries_without_patches_are_compressed(tmp_path, names, store):
    none = draw_gallery(tmp_path / "g", names, 0, 16, store="float32")
    done = compress(none, tmp_path / "h", CompressOptions(store, progress=False))
    assert (done.bytes_after, done.mean_cosine) == (0, 1.0)
    made = Gallery(tmp_path / "h")
    assert verify(made) == []
    for device in ("cpu", "torch:cpu"):
        hits = load_reranker(made).on_device(device).rank(queries()[0], names)
        assert [hit.id for hit in hits] == names


@by_store
def test_threads_do_not_matter(tmp_path, store):
    both, _ = drawn(tmp_path, store)
    rows = np.tile(np.arange(30), (3, 1))
    for rescore in (0, 4, 60):
        opened = Gallery(both.folder, rescore=rescore)
        one, three = (Patchify(opened, threads=n).rank_arrays(queries(), rows=rows) for n in (1, 3))
        for name in ("rows", "scores", "local_scores", "boxes"):
            np.testing.assert_array_equal(getattr(one, name), getattr(three, name))
