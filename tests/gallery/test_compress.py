from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from patchrerank.analysis.training_vectors import training_vectors
from patchrerank.errors import GalleryError, QueryError, SettingError
from patchrerank.first_stage import GlobalSearch
from patchrerank.gallery import (
    CompressOptions,
    Gallery,
    build_gallery,
    compress,
    encode_queries,
    export_gallery,
    verify,
)
from patchrerank.gallery.storage import training_rows
from patchrerank.images import list_images
from patchrerank.kernels.stores import RESCORE
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import Patchify

PQ = CompressOptions("pq", m=4, nbits=5, progress=False)


@pytest.mark.parametrize(
    ("options", "worst"),
    [
        (CompressOptions("float16", progress=False), 0.99999),
        (CompressOptions("int8", progress=False), 0.999),
        (PQ, 0.5),
        (replace(PQ, nbits=8), 0.7),
        (replace(PQ, m=8, nbits=4), 0.7),
        (CompressOptions("rabitq4", progress=False), 0.98),
        (CompressOptions("rabitq3", progress=False), 0.95),
        (CompressOptions("rabitq2", progress=False), 0.85),
        (CompressOptions("rabitq1", progress=False), 0.6),
        (CompressOptions("rabitq1+int8", progress=False), 0.999),
        (replace(PQ, store="pq+float16"), 0.99999),
    ],
)
def test_stores_keep_what_they_promise(tmp_path, tiny_gallery, options, worst):
    result = compress(tiny_gallery, tmp_path / "g", options)
    small = Gallery(tmp_path / "g")
    assert verify(small) == []
    assert worst < result.worst_cosine <= result.mean_cosine <= 1.0001
    assert result.bytes_after < result.bytes_before or options.store == "pq"
    assert list(small.ids) == list(tiny_gallery.ids)
    assert np.array_equal(small.boxes, tiny_gallery.boxes)
    queries = encode_like(tiny_gallery)
    rows = np.tile(np.arange(40), (3, 1))
    for a, b in zip(score(small, queries, rows), score(tiny_gallery, queries, rows), strict=True):
        assert np.abs(a - b).max() < (1 - worst) + 0.01 or options.store in LOSSY


LOSSY = ("pq", "rabitq1", "rabitq2", "rabitq3", "rabitq4")


@pytest.mark.parametrize(("m", "nbits", "size"), [(4, 5, 3), (16, 4, 8), (8, 1, 1), (4, 8, 4)])
def test_short_codes_are_packed(tmp_path, tiny_gallery, m, nbits, size):
    compress(tiny_gallery, tmp_path / "g", replace(PQ, m=m, nbits=nbits))
    small = Gallery(tmp_path / "g")
    assert small.patches.shape == (small.manifest.patches, size)
    assert small.patch_store.bits == nbits
    assert small.patch_store.bytes_per_row == size
    assert verify(small) == []


def test_rotated_codes_estimate_without_bias(tmp_path, tiny_gallery):
    compress(tiny_gallery, tmp_path / "g", CompressOptions("rabitq1", progress=False))
    every = np.arange(200)
    there, rough = (
        one.patch_store.decode(every) for one in (tiny_gallery, Gallery(tmp_path / "g"))
    )
    assert np.allclose((there * rough).sum(axis=1), 1, atol=1e-5), "a vector with itself"
    other = there[::-1]
    assert abs(((rough - there) * other).sum(axis=1).mean()) < 0.05


def encode_like(gallery):
    from patchrerank.types import Queries

    return Queries(np.asarray(gallery.global_vectors)[:3])


def score(gallery, queries, rows):
    from patchrerank.types import Shortlist

    shortlist = Shortlist(rows, np.zeros(rows.shape, np.float32))
    return Patchify(gallery).score(queries, shortlist).scores


def test_pq_equals_faiss(tmp_path, tiny_gallery):
    """Decoded rows are what faiss decodes from the same quantiser."""
    import faiss

    from patchrerank.gallery.stores import pq_encode, pq_train

    vectors = np.array(tiny_gallery.patches)
    centroids = pq_train(vectors, 4, 8)
    quantiser = faiss.ProductQuantizer(16, 4, 8)
    faiss.copy_array_to_vector(centroids.reshape(-1), quantiser.centroids)
    compress(tiny_gallery, tmp_path / "g", replace(PQ, nbits=8))
    small = Gallery(tmp_path / "g")
    codes = pq_encode(vectors, centroids)
    assert np.array_equal(small.patches, codes)
    assert np.allclose(small.patch_store.decode(np.arange(50)), quantiser.decode(codes[:50]))


@pytest.mark.parametrize("store", ["int8", "pq", "float16", "rabitq3", "rabitq2+int8", "pq+int8"])
def test_append_to_a_compressed_gallery(tmp_path, tiny_encoder, photo_folder, quiet, store):
    pairs = [(path.name, path) for path in list_images(photo_folder)]
    part = build_gallery(tmp_path / "a", pairs[:32], tiny_encoder, GridPyramid(2), quiet)
    compress(part, tmp_path / "b", replace(PQ, store=store))
    more = replace(quiet, append=True)
    longer = build_gallery(tmp_path / "b", pairs, tiny_encoder, GridPyramid(2), more)
    assert len(longer) == 40
    assert longer.manifest.store == store
    assert verify(longer) == []


def test_whitening(tmp_path, tiny_gallery, tiny_encoder, photo_folder):
    compress(tiny_gallery, tmp_path / "g", CompressOptions("float32", whiten=8, progress=False))
    white = Gallery(tmp_path / "g")
    assert white.dim == 8
    assert verify(white) == []
    files = [photo_folder / name for name in white.ids[:4]]
    raw = encode_queries(tiny_encoder, files)
    with pytest.raises(QueryError, match="dimensions"):
        GlobalSearch(white).search(raw)
    queries = encode_queries(tiny_encoder, files, whitening=white.whitening)
    found = GlobalSearch(white).search(queries, 3)
    assert found.rows[:, 0].tolist() == [0, 1, 2, 3]
    assert Patchify(white, tiny_encoder).rank(files[2], list(white.ids))[0].id == white.ids[2]
    with pytest.raises(GalleryError, match="already whitened"):
        compress(white, tmp_path / "h", CompressOptions("float32", whiten=4, progress=False))
    compress(white, tmp_path / "i", CompressOptions("int8", progress=False))
    assert Gallery(tmp_path / "i").whitening.fingerprint == white.whitening.fingerprint


@pytest.mark.parametrize("store", ["int8", "rabitq2", "rabitq1+float16"])
def test_codes_at_build_time(tmp_path, tiny_encoder, photo_folder, tiny_gallery, quiet, store):
    built = build_gallery(
        tmp_path / "g", photo_folder, tiny_encoder, GridPyramid(2), replace(quiet, store=store)
    )
    compress(tiny_gallery, tmp_path / "h", CompressOptions(store, progress=False))
    assert np.array_equal(built.patches, Gallery(tmp_path / "h").patches)
    for untrained in ("pq", "pq+int8"):
        how = replace(quiet, store=untrained)
        with pytest.raises(SettingError, match="compress"):
            build_gallery(tmp_path / "i", photo_folder, tiny_encoder, None, how)


@pytest.mark.parametrize("store", ["rabitq1+int8", "rabitq2+float16", "pq+int8"])
def test_finer_rows_beside_codes_decide(tmp_path, tiny_gallery, store):
    codes, exact = store.split("+")
    for name in (store, codes, exact):
        compress(tiny_gallery, tmp_path / name, replace(PQ, store=name))
    fine, rough, queries = Gallery(tmp_path / exact), Gallery(tmp_path / codes), asked(tiny_gallery)
    whole = ranked(fine, queries)
    for rescore in (40, 1000):
        found = ranked(Gallery(tmp_path / store, rescore=rescore), queries)
        for name in ("rows", "scores", "local_scores", "boxes"):
            assert np.array_equal(getattr(found, name), getattr(whole, name)), "bit for bit"
    few = pickle.loads(pickle.dumps(Gallery(tmp_path / store, rescore=5)))
    assert few.patch_store.rescore == 5
    assert Gallery(tmp_path / store).patch_store.rescore == RESCORE
    best, by_codes = ranked(few, queries), ranked(rough, queries)
    for number in range(len(queries)):
        first = best.rows[number, :5]
        assert set(first) == set(by_codes.rows[number, :5])
        places = [list(whole.rows[number]).index(row) for row in first]
        assert places == sorted(places)
        assert np.array_equal(best.scores[number, :5], whole.scores[number, places])
        assert np.array_equal(best.boxes[number, :5], whole.boxes[number, places])
        assert np.array_equal(best.rows[number, 5:], by_codes.rows[number, 5:])
    zero = ranked(Gallery(tmp_path / store, rescore=0), queries)
    assert np.array_equal(zero.scores, by_codes.scores)


def asked(gallery):
    rng = np.random.default_rng(0)
    vectors = np.asarray(gallery.global_vectors)[:4] + rng.normal(0, 0.1, (4, gallery.dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def ranked(gallery, vectors):
    return Patchify(gallery).rank_arrays(vectors, rows=np.tile(np.arange(40), (len(vectors), 1)))


def test_finer_rows_are_checked_and_exported(tmp_path, tiny_gallery):
    compress(tiny_gallery, tmp_path / "b", CompressOptions("rabitq2+int8", progress=False))
    compress(tiny_gallery, tmp_path / "i", CompressOptions("int8", progress=False))
    both, fine = Gallery(tmp_path / "b"), Gallery(tmp_path / "i")
    sizes = both.nbytes()
    assert sizes["exact_patches"] == fine.nbytes()["patches"] > sizes["patches"]
    for name, one in (("both.npz", both), ("fine.npz", fine)):
        export_gallery(one, tmp_path / name.removesuffix(".npz"), progress=False)
    one, other = (np.load(tmp_path / name / "patches.npy") for name in ("both", "fine"))
    assert np.array_equal(one, other)
    path = both.files()["exact_patches"]
    damaged = bytearray(path.read_bytes())
    damaged[5] ^= 255
    path.write_bytes(damaged)
    assert any("exact_patches" in line for line in verify(Gallery(tmp_path / "b")))
    for rescore, store, message in ((-1, "b", "at least 0"), (5, "i", "rabitq2.int8")):
        with pytest.raises(SettingError, match=message):
            Gallery(tmp_path / store, rescore=rescore)
    for wrong in ("int8+int8", "rabitq2+float32", "rabitq2+", "rabitq2+int8+int8"):
        with pytest.raises(SettingError, match="unknown"):
            CompressOptions(wrong)


def test_training_vectors(tmp_path, tiny_gallery, tiny_encoder):
    assert training_vectors(tiny_gallery, "all") is None
    level0 = training_vectors(tiny_gallery, "L0")
    assert np.allclose(level0, tiny_gallery.global_vectors)
    assert len(training_rows(tiny_gallery, 1)) == 40 * 5
    assert training_rows(tiny_gallery, 1)[:6].tolist() == [0, 1, 2, 3, 4, 14]
    with pytest.raises(GalleryError, match="L3"):
        training_vectors(tiny_gallery, "L3")
    np.save(tmp_path / "v.npy", level0)
    assert np.array_equal(training_vectors(tiny_gallery, str(tmp_path / "v.npy")), level0)
    np.save(tmp_path / "w.npy", level0[:, :3])
    with pytest.raises(SettingError, match="expected finite"):
        training_vectors(tiny_gallery, str(tmp_path / "w.npy"))
    with pytest.raises(SettingError, match="readable"):
        training_vectors(tiny_gallery, "nowhere")
    name = tiny_gallery.ids[3]
    (tmp_path / "b.json").write_text(f'{{"{name}": [[0, 0, 1, 1], [0.2, 0.2, 0.7, 0.7]]}}')
    vectors = training_vectors(tiny_gallery, "boxes", tmp_path / "b.json", tiny_encoder)
    assert vectors.shape == (2, 16)
    assert np.allclose(vectors[0], tiny_gallery.global_vectors[3], atol=1e-5)


def test_refusals(tmp_path, tiny_gallery):
    compress(tiny_gallery, tmp_path / "g", CompressOptions("int8", progress=False))
    with pytest.raises(GalleryError, match="there is a gallery"):
        compress(tiny_gallery, tmp_path / "g", PQ)
    with pytest.raises(GalleryError, match="already int8"):
        compress(Gallery(tmp_path / "g"), tmp_path / "h", PQ)
    with pytest.raises(SettingError, match="does not divide"):
        compress(tiny_gallery, tmp_path / "i", replace(PQ, m=5))
    with pytest.raises(SettingError, match="nbits"):
        compress(tiny_gallery, tmp_path / "j", replace(PQ, nbits=9))
    few = np.asarray(tiny_gallery.global_vectors)[:20]
    with pytest.raises(SettingError, match="too few"):
        compress(tiny_gallery, tmp_path / "k", replace(PQ, train=few))
    with pytest.raises(SettingError, match="did you mean int8"):
        CompressOptions("int6")
