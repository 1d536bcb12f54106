"""Global vectors of an import read back from index files, with the labels of their owners."""

from __future__ import annotations

import json
import re

import faiss
import numpy as np
import pytest

from patchrerank.errors import GalleryError
from patchrerank.first_stage import FaissFile
from patchrerank.gallery import import_gallery, verify
from patchrerank.types import Queries
from quick_indexes import quick_index

N, D = 300, 16
LABELS = 7 * np.arange(N)[::-1] + 100
QUIET = {"encoder": "x", "progress": False}
EXACT = ["Flat", "IVF8,Flat", "IDMap,Flat", "IDMap2,Flat", "HNSW16,Flat", "IDMap2,IVF8,Flat"]
ROUGH = {
    "SQfp16": "decoded from scalar-quantised codes",
    "OPQ8,IVF8,PQ8x4": "decoded from product-quantised codes, turned back by",
    "IVF8,RaBitQ": "decoded from one bit a dimension",
    "RR16,Flat": "turned back by RandomRotationMatrix",
}


@pytest.fixture(scope="module")
def vectors():
    drawn = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def save(path, vectors, factory, labels=None):
    index = quick_index(D, factory)
    index.train(vectors)
    if labels is None:
        index.add(vectors)
    else:
        index.add_with_ids(vectors, labels)
    faiss.write_index(index, str(path))
    return path


@pytest.mark.parametrize("factory", EXACT)
def test_labels_are_ids_and_vectors_the_same_bits(vectors, tmp_path, factory):
    own = "IVF" in factory or "IDMap" in factory
    path = save(tmp_path / "i.faiss", vectors, factory, LABELS if own else None)
    made = import_gallery(tmp_path / "g", None, path, vectors[:, None], **QUIET)
    labels = np.sort(LABELS) if own else np.arange(N)
    assert list(made.ids) == labels.tolist() and verify(made) == []
    order = np.argsort(LABELS) if own else np.arange(N)
    np.testing.assert_array_equal(made.global_vectors, vectors[order])
    found = FaissFile(made, path).search(Queries(vectors[:5]), 1)
    assert np.array_equal(order[found.rows[:, 0]], np.arange(5))


def test_ids_say_the_order_of_all_other_arrays(vectors, tmp_path):
    path = save(tmp_path / "i.faiss", vectors, "IVF8,Flat", LABELS)
    some = np.random.default_rng(1).permutation(N)[:200]
    by_label = {int(LABELS[row]): f"p{row}.jpg" for row in some}
    (tmp_path / "ids.json").write_text(json.dumps(by_label))
    wanted = {"ints": LABELS[some], "dict": by_label, "file": tmp_path / "ids.json"}
    for name, ids in wanted.items():
        made = import_gallery(tmp_path / name, ids, str(path), vectors[some][:, None], **QUIET)
        np.testing.assert_array_equal(made.global_vectors, vectors[some])
        given = LABELS[some].tolist() if name == "ints" else list(by_label.values())
        assert list(made.ids) == given


def test_the_id_of_label_i_stands_at_i(vectors, tmp_path):
    names = [f"{number}.jpg" for number in range(N)]
    index = faiss.read_index(str(save(tmp_path / "i.faiss", vectors, "IVF8,Flat")))
    made = import_gallery(tmp_path / "g", names, index, **QUIET)
    np.testing.assert_array_equal(made.global_vectors, vectors)
    assert list(made.ids) == names and made.manifest.patches == 0
    with pytest.raises(GalleryError, match=r"globals \(IndexIVFFlat\): 300 vectors, .* 299 ids"):
        import_gallery(tmp_path / "h", names[1:], index, **QUIET)


@pytest.mark.parametrize("factory", ROUGH)
def test_rough_vectors_need_a_word(vectors, tmp_path, factory):
    path = save(tmp_path / "i.faiss", vectors, factory)
    with pytest.raises(GalleryError, match=rf"{re.escape(ROUGH[factory])}.*lossy=True"):
        import_gallery(tmp_path / "g", None, path, **QUIET)
    assert not (tmp_path / "g").exists()
    made = import_gallery(tmp_path / "g", None, path, lossy=True, normalise=True, **QUIET)
    assert (made.global_vectors * vectors).sum(axis=1).min() > 0.5 and verify(made) == []


@pytest.mark.parametrize(
    ("factory", "why"), [("IVF8,PQ8x4fs", "fast scan"), ("PCAW8,Flat", "whitening")]
)
def test_what_no_word_helps_with(vectors, tmp_path, factory, why):
    path = save(tmp_path / "i.faiss", vectors, factory)
    with pytest.raises(GalleryError, match=f"{why}.*; take those that it was built of"):
        import_gallery(tmp_path / "g", None, path, lossy=True, **QUIET)


def test_what_does_not_fit_is_named(vectors, tmp_path):
    path = save(tmp_path / "i.faiss", vectors, "IDMap,Flat", LABELS)
    double = save(tmp_path / "d.faiss", vectors, "IDMap,Flat", LABELS // 14)
    for index, ids, message in (
        (path, [str(label) for label in LABELS], r"labels of its own; say .* ids=\{label: id\}"),
        (path, LABELS + 1, r"no vector of the label \d+, of \d+ \(row 0\); its labels lie in"),
        (path, {"a": "b"}, "a mapping from labels, whole numbers, is needed"),
        (double, None, r"two vectors of the label \d+"),
    ):
        with pytest.raises(GalleryError, match=message):
            import_gallery(tmp_path / "g", ids, index, **QUIET)
    (tmp_path / "bad.faiss").write_bytes(b"IxF2 and no more")
    with pytest.raises(GalleryError, match="no faiss index that can be read"):
        import_gallery(tmp_path / "g", None, tmp_path / "bad.faiss", **QUIET)
    with pytest.raises(GalleryError, match="there are no ids"):
        import_gallery(tmp_path / "g", None, vectors, **QUIET)
    assert not (tmp_path / "g").exists()
