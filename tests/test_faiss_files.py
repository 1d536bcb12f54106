"""Index files that are none, cut short, or declare more than they hold."""

from __future__ import annotations

import struct

import faiss
import numpy as np
import pytest

from patchrerank.errors import GalleryError
from patchrerank.faiss_files import open_index
from quick_indexes import quick_index

KINDS = ["Flat", "IVF8,Flat", "IDMap2,Flat", "HNSW8", "SQfp16", "OPQ4,IVF8,PQ4x4"]


def drawn(count=400, dim=16):
    return np.random.default_rng(0).standard_normal((count, dim)).astype(np.float32)


def content(factory):
    index = quick_index(16, factory)
    index.train(drawn())
    if "IDMap" in factory:
        index.add_with_ids(drawn(), np.arange(400))
    else:
        index.add(drawn())
    return faiss.serialize_index(index).tobytes()


@pytest.mark.parametrize("factory", KINDS)
def test_cut_short_anywhere(tmp_path, factory):
    whole, path = content(factory), tmp_path / "i.faiss"
    places = np.random.default_rng(1).integers(4, len(whole), 12)
    for place in [4, 8, 36, *places.tolist(), len(whole) - 1]:
        path.write_bytes(whole[:place])
        with pytest.raises(GalleryError, match=r"i\.faiss: no faiss index that can be read \("):
            open_index(path)
    path.write_bytes(whole)
    assert open_index(path).ntotal == 400


def test_more_declared_than_there_is(tmp_path):
    whole = bytearray(content("Flat"))
    place = whole.index(struct.pack("<Q", 400 * 16), 33)
    struct.pack_into("<Q", whole, place, 1 << 36)
    struct.pack_into("<q", whole, 8, (1 << 36) // 16)
    (tmp_path / "i.faiss").write_bytes(whole)
    before = faiss.get_deserialization_vector_byte_limit()
    with pytest.raises(GalleryError, match="no faiss index that can be read"):
        open_index(tmp_path / "i.faiss")
    assert faiss.get_deserialization_vector_byte_limit() == before


@pytest.mark.parametrize("begin", [b"", b"\x93NUMPY", b"\x80\x04\x95pickle", b"PK\x03\x04", b"no"])
def test_no_index(tmp_path, begin):
    (tmp_path / "i.faiss").write_bytes(begin + bytes(100) if begin else b"")
    with pytest.raises(GalleryError, match=r"i\.faiss: no faiss index, it begins with"):
        open_index(tmp_path / "i.faiss")


def test_unknown_kinds_and_bits(tmp_path):
    path = tmp_path / "i.faiss"
    path.write_bytes(b"Ixyz" + bytes(1000))
    with pytest.raises(GalleryError, match=r"not recognized"):
        open_index(path)
    bits = faiss.IndexBinaryFlat(16)
    bits.add(np.zeros((3, 2), dtype=np.uint8))
    faiss.write_index_binary(bits, str(path))
    with pytest.raises(GalleryError, match="a binary faiss index, of bits"):
        open_index(path)


def test_no_file_and_no_training(tmp_path):
    with pytest.raises(GalleryError, match=r"no\.faiss: cannot be read"):
        open_index(tmp_path / "no.faiss")
    with pytest.raises(GalleryError, match="cannot be read"):
        open_index(tmp_path)
    for name in ("a\0b", "\udcff"):
        with pytest.raises(GalleryError, match=r"cannot be read \("):
            open_index(name)
    faiss.write_index(faiss.index_factory(16, "IVF8,Flat"), str(tmp_path / "i.faiss"))
    with pytest.raises(GalleryError, match="not trained"):
        open_index(tmp_path / "i.faiss")
