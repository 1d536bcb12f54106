"""An export of a whitened gallery comes back as one: its encoder makes queries, whitened alike."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from drawings import photo as draw_photo
from patchrerank import load_reranker
from patchrerank.encoders import load_encoder
from patchrerank.errors import GalleryError
from patchrerank.gallery import (
    BuildOptions,
    CompressOptions,
    Gallery,
    build_gallery,
    compress,
    export_gallery,
    import_gallery,
    read_vectors,
    verify,
)

FORMATS = {"npy": "out", "hdf5": "out.h5", "parquet": "out.parquet"}
ENCODER = {"image_size": 32, "pretrained": False}


@pytest.fixture(scope="module")
def white(tmp_path_factory):
    folder = tmp_path_factory.mktemp("white")
    (folder / "photos").mkdir()
    for number in range(12):
        draw_photo(number, 60, 50).save(folder / f"photos/{number}.png")
    encoder = load_encoder("timm:test_resnet", **ENCODER)
    options = BuildOptions(progress=False, whiten=8, store="float32", backgrounds=0)
    return build_gallery(folder / "g", folder / "photos", encoder, "grid:1", options)


def back(path, folder):
    found = read_vectors(path)
    given = (found.ids, found.global_vectors, found.patches, found.counts)
    made = {"boxes": found.boxes, "regions": found.regions, "encoder": found.encoder}
    made |= {"sizes": found.sizes, "store": "float32", "progress": False}
    return import_gallery(folder, *given, **made)


@pytest.mark.parametrize(
    "form",
    [form if form == "npy" else pytest.param(form, marks=pytest.mark.slow) for form in FORMATS],
)
def test_pictures_are_queries_of_what_comes_back(tmp_path, white, form):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = export_gallery(white, tmp_path / FORMATS[form], form, progress=False)
    again = back(path, tmp_path / "again")
    for key in ("encoder", "identity", "whitened", "whitening", "regions", "dim"):
        assert getattr(again.manifest, key) == getattr(white.manifest, key)
    assert again.whitening.fingerprint == white.whitening.fingerprint
    assert np.array_equal(again.patches, white.patches) and verify(again) == []
    query, ids = white.pictures[3], list(white.ids)
    scored = [
        [(hit.id, hit.score) for hit in load_reranker(one).rank(query, ids)]
        for one in (white.folder, again.folder)
    ]
    assert scored[0] == scored[1]


def test_vectors_of_ones_own_that_were_whitened_here(tmp_path, white):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 3, 12))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    own = import_gallery(
        tmp_path / "own", range(40), vectors[:, 0], vectors, encoder="ours", progress=False
    )
    compress(own, tmp_path / "small", CompressOptions("float32", whiten=6, progress=False))
    small = Gallery(tmp_path / "small")
    again = back(export_gallery(small, tmp_path / "out", progress=False), tmp_path / "again")
    assert again.manifest.identity == small.manifest.identity and again.dim == 6
    assert again.whitening.fingerprint == small.whitening.fingerprint and verify(again) == []


def test_a_whitening_that_is_missing_or_another_is_refused(tmp_path, white):
    path = export_gallery(white, tmp_path / "out", progress=False)
    held = (path / "whitening.npz").read_bytes()
    (path / "whitening.npz").unlink()
    with pytest.raises(GalleryError, match="the whitening is not there"):
        read_vectors(path)
    other = white.whitening.matrix + 1
    np.savez(path / "whitening.npz", mean=white.whitening.mean, matrix=other)
    with pytest.raises(GalleryError, match="is not that of its vectors"):
        read_vectors(path)
    np.savez(path / "whitening.npz", mean=white.whitening.mean, matrix=other[:-1])
    with pytest.raises(GalleryError, match="a whitening needs a mean"):
        read_vectors(path)
    (path / "whitening.npz").write_bytes(held[:-40])
    with pytest.raises(GalleryError, match=r"whitening\.npz"):
        read_vectors(path)
    (path / "whitening.npz").write_bytes(held)
    record = json.loads((path / "patchrerank.json").read_text())
    for wrong in (3, [], {}, {"fingerprint": 3}):
        (path / "patchrerank.json").write_text(json.dumps({**record, "whitening": wrong}))
        with pytest.raises(GalleryError):
            read_vectors(path)
    shutil.rmtree(path)
    found = read_vectors(export_gallery(white, path, progress=False))
    with pytest.raises(GalleryError, match="dimensions, their whitening makes 8"):
        import_gallery(tmp_path / "g", range(2), np.eye(2), encoder=found.encoder, progress=False)
    assert not (tmp_path / "g").exists()
