"""Factory strings are checked before faiss sees them; faiss is never called with a bad one."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from patchrerank.errors import GalleryError, SettingError
from patchrerank.first_stage import GlobalSearch, PatchSearch, build_patch_index
from patchrerank.first_stage.factory_strings import check_factory
from patchrerank.gallery import Gallery
from patchrerank.regions import GridPyramid
from patchrerank.types import Queries

REFUSED = [
    ("PQ0", "the number of parts must be in 1 … 16, got 0"),
    ("PQ5", "5 parts do not divide 16 dimensions"),
    ("PQ32", "the number of parts must be in 1 … 16, got 32"),
    ("PQ4x0", "the number of bits must be in 1 … 16, got 0"),
    ("PQ4x64", "the number of bits must be in 1 … 16, got 64"),
    ("PQ4x12", "4096 centroids need as many training vectors, there are 560"),
    ("PQ4x8fs", "fast scan takes 4 bits"),
    ("PQ4x4fs_0", "blocks of 32"),
    ("PQ4x4fs_33", "blocks of 32"),
    ("IVF0,Flat", "the number of lists must be in 1 …"),
    ("IVF999999999999,Flat", "the number of lists must be in 1 …"),
    ("IVF4096,PQ4", "4096 lists need as many training vectors, there are 560"),
    ("IVF8_HNSW0,Flat", "the number of links must be in 2 … 512, got 0"),
    ("HNSW0", "the number of links must be in 2 … 512, got 0"),
    ("HNSW1", "the number of links must be in 2 … 512, got 1"),
    ("HNSW99999999", "the number of links must be in 2 … 512"),
    ("NSG0", "the number of links"),
    ("NSG32", "needs at least 1000 vectors, there are 560"),
    ("OPQ0,Flat", "the number of parts must be in 1 … 16, got 0"),
    ("OPQ4_0,PQ4", "the number of dimensions must be in 1 … 16, got 0"),
    ("OPQ3_8,PQ4", "3 parts do not divide 8 dimensions"),
    ("OPQ4_8,PQ16", "the number of parts must be in 1 … 8, got 16"),
    ("PCA0,Flat", "the number of dimensions must be in 1 … 16, got 0"),
    ("PCA99999999,Flat", "the number of dimensions must be in 1 … 16"),
    ("PCA8,PQ16", "the number of parts must be in 1 … 8, got 16"),
    ("Pad0,Flat", "the number of dimensions must be in 16 … 64, got 0"),
    ("RR0,Flat", "the number of dimensions"),
    ("Flta", "the part 'Flta' is unknown; did you mean Flat"),
    ("IVF-5,Flat", "the part 'IVF-5' is unknown"),
    ("PQ", "the part 'PQ' is unknown"),
    ("IVF８,Flat", "is unknown"),
    ("Flat,", "the part '' is unknown"),
    ("", "has 1 to 100 characters"),
    ("Flat," * 100, "has 1 to 100 characters"),
    ("PQ" + "9" * 90, "the number of parts"),
    ("IMI2x30,Flat", "is unknown"),
    ("Refine(Flat)", "is unknown"),
    ("IDMap,Flat", "the part 'IDMap' is unknown"),  # faiss then takes no vectors without ids
    ("Flat,IDMap2", "the part 'IDMap2' is unknown"),
]


@pytest.mark.parametrize(("factory", "why"), REFUSED)
def test_refused_before_faiss_is_called(tiny_gallery, tmp_path, monkeypatch, factory, why):
    def called(*given):
        pytest.fail(f"faiss was asked for {given}")

    monkeypatch.setattr(faiss, "index_factory", called)
    with pytest.raises(SettingError) as caught:
        build_patch_index(tiny_gallery, tmp_path, factory, progress=False)
    assert why in str(caught.value)
    with pytest.raises(SettingError):
        GlobalSearch(tiny_gallery, factory)
    assert not any(tmp_path.iterdir())


GOOD = [
    "Flat", "HNSW", "HNSW32,Flat", "HNSW16,SQ8", "IVF4,Flat", "IVF4_HNSW8,Flat",
    "PQ8x4", "PQ8x4fs", "SQfp16", "PCA8,Flat", "PCAR8,SQ4",
    "L2norm,Flat", "RR8,Flat", "PQ4x4,RFlat", "Pad32,Flat", "IVF4,RaBitQ", "SQbf16", "SQ6",
    pytest.param("IVF4,PQ8x4", marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.parametrize("factory", GOOD)
def test_known_strings_are_built_and_search(tiny_gallery, factory):
    queries = Queries(np.array(tiny_gallery.global_vectors[:2]))
    found = GlobalSearch(tiny_gallery, factory).search(queries, 3)
    assert found.rows.shape == (2, 3)


def test_rotations_need_as_many_vectors_as_their_quantiser_has_centroids(tiny_gallery, tmp_path):
    build_patch_index(tiny_gallery, tmp_path, "OPQ4_8,IVF4,PQ4x4fs", progress=False)
    with pytest.raises(SettingError, match="256 centroids need as many training vectors"):
        GlobalSearch(tiny_gallery, "OPQ4,PQ4x4")


def test_published_settings_pass():
    for factory in ("IVF4096,PQ64", "IVF2048,PQ16", "IVF1024,RaBitQ4", "OPQ64,IVF1024,PQ64x4fs"):
        assert check_factory(factory, 768, 100_000) == factory
        assert check_factory(factory) == factory
    with pytest.raises(SettingError, match="links"):
        check_factory("HNSW0")


def test_an_empty_gallery_finds_nothing_by_any_index(tmp_path, tiny_encoder, quiet):
    from patchrerank.gallery.writer import open_writer

    with open_writer(tmp_path / "g", tiny_encoder, GridPyramid(0), quiet, 16) as writer:
        writer.finish()
    empty = Gallery(tmp_path / "g")
    queries = Queries(np.eye(1, 16, dtype=np.float32))
    for factory in ("Flat", "IVF4,Flat", "SQ8"):
        assert GlobalSearch(empty, factory).search(queries, 3).rows.shape == (1, 0)
    with pytest.raises(SettingError, match="no patches"):
        build_patch_index(empty, tmp_path / "i", "SQ8", progress=False)


def test_a_damaged_index_file_is_found_before_faiss_reads_it(tiny_gallery, tmp_path, monkeypatch):
    path = build_patch_index(tiny_gallery, tmp_path, "IVF4,Flat", progress=False)
    PatchSearch(tiny_gallery, tmp_path)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1

    def called(*given):
        pytest.fail("faiss read a damaged file")

    monkeypatch.setattr(faiss, "read_index", called)
    for content, why in ((whole, "checksum differs"), (whole[:-1], "bytes, patches.json says")):
        path.write_bytes(content)
        with pytest.raises(GalleryError, match=rf"no usable patch index .*{why}"):
            PatchSearch(tiny_gallery, tmp_path)
    path.unlink()
    with pytest.raises(GalleryError, match="no usable patch index"):
        PatchSearch(tiny_gallery, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"patches": 560', '"patches": "560"', "patches: expected a whole number"),
        ('"patches": 560', '"patches": 559', "other patches"),
        ('"patches": 560', '"patches": 560, "patches": 1', "stands twice"),
        ('"patches": 560', '"patches": 560, "more": 1', "more: unknown key"),
        ('"factory"', '"factry"', "factry: unknown key"),
        ("{", "[" * 5000, "nested too deeply"),
    ],
)
def test_edited_records_of_an_index(tiny_gallery, tmp_path, old, new, why):
    build_patch_index(tiny_gallery, tmp_path, "Flat", progress=False)
    record = tmp_path / "patches.json"
    record.write_text(record.read_text().replace(old, new))
    with pytest.raises(GalleryError, match=why):
        PatchSearch(tiny_gallery, tmp_path)


def test_indexes_of_earlier_versions_have_no_checksum(tiny_gallery, tmp_path):
    import json

    build_patch_index(tiny_gallery, tmp_path, "Flat", progress=False)
    record = tmp_path / "patches.json"
    content = json.loads(record.read_text())
    del content["index_bytes"], content["index_crc32"]
    record.write_text(json.dumps(content))
    assert PatchSearch(tiny_gallery, tmp_path).record.index_crc32 is None


def test_limits_of_the_number_of_training_vectors_are_inclusive():
    assert check_factory("NSG32", 16, 1000) == "NSG32"
    assert check_factory("IVF50,Flat", 16, 50) == "IVF50,Flat"
    for factory, one_less in (("NSG32", 999), ("IVF50,Flat", 49)):
        with pytest.raises(SettingError, match=f"there are {one_less}"):
            check_factory(factory, 16, one_less)
