"""Vectors and labels read back from index files, exactly where nothing was lost."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from patchrerank.errors import GalleryError
from patchrerank.faiss_files import open_index
from patchrerank.faiss_labels import own_labels
from patchrerank.faiss_vectors import vectors_of
from quick_indexes import quick_index

COUNT, DIM = 1500, 32
LABELS = 7 * np.arange(COUNT)[::-1] + 100
EXACT = [
    "Flat",
    "IVF16,Flat",
    "IVF16_HNSW8,Flat",
    "IDMap,Flat",
    "IDMap2,Flat",
    "HNSW16,Flat",
    "NSG16,Flat",
    "IDMap,HNSW16,Flat",
    "IDMap2,IVF16,Flat",
    "PQ8x4,RFlat",
    "L2norm,Flat",
]
CODED = {
    "SQfp16": 0.0005,
    "IVF16,SQfp16": 0.0005,
    "SQ8": 0.01,
    "HNSW16_SQ8": 0.01,
    "IVF16,SQ8": 0.01,
    "PQ16x4": 0.6,
    "IDMap,PQ16x4": 0.6,
    "PQ16x4fs": 0.5,
    "IVF16,PQ16x4": 0.6,
    "OPQ8,IVF16,PQ8x4": 0.7,
    "RR32,Flat": 1e-5,
    "PCA24,Flat": 0.5,
    "PCA24,IDMap,Flat": 0.5,
    "IVF16,RaBitQ": 0.6,
}
"""The largest difference of a number, in vectors of unit length."""


@pytest.fixture(scope="module")
def vectors():
    drawn = np.random.default_rng(0).standard_normal((COUNT, DIM)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def save(path, vectors, factory, metric=faiss.METRIC_INNER_PRODUCT):
    """Write an index; return its labels."""
    index = quick_index(vectors.shape[1], factory, metric)
    index.train(vectors)
    labels = LABELS if "IVF" in factory or "IDMap" in factory else None
    if labels is None:
        index.add(vectors)
    else:
        index.add_with_ids(vectors, labels)
    faiss.write_index(index, str(path))
    return np.arange(len(vectors)) if labels is None else labels


def gathered(found):
    blocks = list(found)
    labels = np.concatenate([part for part, _ in blocks])
    order = np.argsort(labels)
    return labels[order], np.concatenate([rows for _, rows in blocks])[order]


@pytest.mark.parametrize("metric", [faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2])
@pytest.mark.parametrize("factory", EXACT)
def test_exact(vectors, tmp_path, factory, metric):
    labels = save(tmp_path / "i.faiss", vectors, factory, metric)
    found = vectors_of(tmp_path / "i.faiss")
    assert (found.exact, found.lossy, found.dim, len(found)) == (True, "", DIM, COUNT)
    back, rows = gathered(found)
    assert np.array_equal(back, np.sort(labels))
    expected = vectors[np.argsort(labels)]
    if factory.startswith("L2norm"):
        assert np.allclose(rows, expected, atol=1e-6)
    else:
        assert np.array_equal(rows, expected)


@pytest.mark.slow
def test_approximate_with_the_usual_codes(vectors, tmp_path):
    test_approximate(vectors, tmp_path, "OPQ8,IVF16,PQ8")


@pytest.mark.parametrize("factory", CODED)
def test_approximate(vectors, tmp_path, factory):
    labels = save(tmp_path / "i.faiss", vectors, factory)
    found = vectors_of(str(tmp_path / "i.faiss"))
    assert not found.exact
    assert found.lossy.startswith(("decoded from", "turned back by"))
    back, rows = gathered(found)
    assert np.array_equal(back, np.sort(labels))
    assert rows.dtype == np.float32
    difference = np.abs(rows - vectors[np.argsort(labels)]).max()
    assert difference < CODED.get(factory, 0.5)


def test_blocks_are_of_the_size_asked_for(vectors, tmp_path):
    for factory in ("Flat", "IVF64,Flat", "IDMap,Flat", "IVF2,Flat"):
        save(tmp_path / "i.faiss", vectors, factory)
        sizes = [len(part) for part, _ in vectors_of(tmp_path / "i.faiss", block=100)]
        assert max(sizes) <= 100
        assert sum(sizes) == COUNT
        assert len(sizes) < 32


def test_what_is_left_after_removing(vectors, tmp_path):
    index = faiss.index_factory(DIM, "IVF16,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add_with_ids(vectors, LABELS)
    index.remove_ids(LABELS[::2])
    labels, rows = gathered(vectors_of(index))
    order = np.argsort(LABELS[1::2])
    assert np.array_equal(labels, LABELS[1::2][order])
    assert np.array_equal(rows, vectors[1::2][order])


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        ("IVF16,PQ16x4fs", "IndexIVFPQFastScan: faiss cannot decode the lists"),
        ("LSH", "IndexLSH: it holds signs"),
        ("RQ4x6", "IndexResidualQuantizer: its vectors are not held"),
    ],
)
def test_what_cannot_be_had(vectors, tmp_path, factory, why):
    save(tmp_path / "i.faiss", vectors, factory, faiss.METRIC_L2)
    with pytest.raises(GalleryError, match=f"{why}.*; take those that it was built of"):
        vectors_of(tmp_path / "i.faiss")


@pytest.mark.parametrize("factory", ["PCAW16,Flat", "PCAW32,IVF16,Flat"])
def test_a_transform_that_has_no_way_back(vectors, tmp_path, factory):
    """Of a saved whitening faiss gives wrong vectors back, without a word."""
    save(tmp_path / "i.faiss", vectors, factory)
    with pytest.raises(GalleryError, match=r"no vectors can be had of .*; take those that it was"):
        list(vectors_of(tmp_path / "i.faiss"))


def test_labels_of_its_own(vectors):
    index = faiss.index_factory(DIM, "IVF16,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    assert own_labels(index) is None
    turned = quick_index(DIM, "OPQ8,IVF16,Flat")
    turned.train(vectors)
    turned.add_with_ids(vectors, LABELS)
    assert np.array_equal(np.sort(own_labels(turned)), np.sort(LABELS))
    mapped = faiss.IndexIDMap(faiss.IndexFlatIP(DIM))
    mapped.add_with_ids(vectors, LABELS)
    assert np.array_equal(own_labels(mapped), LABELS)
    plain = faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))
    plain.add_with_ids(vectors, np.arange(COUNT))
    assert own_labels(plain) is None
    assert own_labels(faiss.IndexFlatIP(DIM)) is None


def test_an_opened_index_is_its_own_class(vectors, tmp_path):
    save(tmp_path / "i.faiss", vectors, "IDMap2,HNSW16")
    assert type(open_index(tmp_path / "i.faiss")) is faiss.IndexIDMap2
