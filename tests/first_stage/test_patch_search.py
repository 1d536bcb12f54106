from __future__ import annotations

import logging

import numpy as np
import pytest

from patchrerank.errors import GalleryError, SettingError
from patchrerank.first_stage import PatchSearch, build_patch_index
from patchrerank.rerankers import Patchify
from patchrerank.types import Queries, Shortlist


@pytest.fixture(scope="module")
def queries(tiny_gallery):
    rng = np.random.default_rng(5)
    vectors = np.asarray(tiny_gallery.patches)[[3, 200, 411]] + 0.3 * rng.standard_normal((3, 16))
    return Queries((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))


@pytest.fixture(scope="module")
def flat_folder(tiny_gallery, tmp_path_factory):
    folder = tmp_path_factory.mktemp("flat")
    build_patch_index(tiny_gallery, folder, "Flat", progress=False)
    return folder


@pytest.mark.parametrize("size", [1, 5, 39, 40, 1000])
def test_flat_search_equals_patchify_over_the_whole_gallery(
    tiny_gallery, queries, flat_folder, size
):
    found = PatchSearch(tiny_gallery, flat_folder).search(queries, size)
    everything = Shortlist(np.tile(np.arange(40), (3, 1)), np.zeros((3, 40), np.float32))
    local = Patchify(tiny_gallery).score(queries, everything)
    order = np.argsort(-local.scores, axis=1, kind="stable")[:, :size]
    assert np.array_equal(found.shortlist.rows, order)
    assert np.allclose(
        found.shortlist.scores, np.take_along_axis(local.scores, order, 1), atol=1e-5
    )
    assert np.allclose(found.boxes, np.take_along_axis(local.boxes, order[..., None], 1))
    assert found.found.tolist() == [min(size, 40)] * 3


def test_short_lists_say_so(tiny_gallery, queries, tmp_path, caplog):
    build_patch_index(tiny_gallery, tmp_path, "IVF16,Flat", progress=False)
    with caplog.at_level(logging.WARNING):
        few = PatchSearch(tiny_gallery, tmp_path, nprobe=1).search(queries, 40)
    assert (few.found < 40).all()
    for query, found in enumerate(few.found):
        assert (few.shortlist.rows[query, found:] == -1).all()
        assert (few.shortlist.rows[query, :found] >= 0).all()
        assert np.isnan(few.boxes[query, found:]).all()
    assert "raise nprobe" in caplog.text
    everything = PatchSearch(tiny_gallery, tmp_path, nprobe=16).search(queries, 40)
    assert (everything.found == 40).all()


@pytest.mark.parametrize("factory", ["HNSW16", "IVF8,PQ4x4", "SQ8"])
def test_other_indexes(tiny_gallery, queries, tmp_path, factory):
    build_patch_index(tiny_gallery, tmp_path, factory, progress=False)
    found = PatchSearch(tiny_gallery, tmp_path).search(queries, 5)
    assert (np.diff(found.shortlist.scores[:, : found.found.min()], axis=1) <= 0).all()
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in found.shortlist.rows)


def test_depth_grows_where_one_image_holds_all_the_best_patches(
    tmp_path, tiny_encoder, photo_folder, quiet
):
    from patchrerank.gallery import build_gallery
    from patchrerank.images import list_images
    from patchrerank.regions import FixedBoxes

    files = list_images(photo_folder)[:3]
    boxes = {"a": [[0, 0, 1, 1]] * 60, "b": [[0, 0, 1, 1]], "c": [[0, 0, 1, 1]]}
    pairs = list(zip("abc", files, strict=True))
    gallery = build_gallery(
        tmp_path / "g", pairs, tiny_encoder, FixedBoxes(boxes, whole_image=False), quiet
    )
    build_patch_index(gallery, tmp_path / "i", "Flat", progress=False)
    one = Queries(np.asarray(gallery.global_vectors)[:1])
    assert sorted(PatchSearch(gallery, tmp_path / "i").search(one, 3).shortlist.rows[0]) == [
        0,
        1,
        2,
    ]


def test_refusals(tiny_gallery, queries, flat_folder, tmp_path, tiny_encoder, quiet, photo_folder):
    from patchrerank.gallery import build_gallery
    from patchrerank.images import list_images
    from patchrerank.regions import GridPyramid

    with pytest.raises(SettingError, match="at least 1"):
        PatchSearch(tiny_gallery, flat_folder, nprobe=0)
    with pytest.raises(SettingError, match="no nprobe"):
        PatchSearch(tiny_gallery, flat_folder, nprobe=3)
    with pytest.raises(SettingError, match="IVF4096"):
        build_patch_index(tiny_gallery, tmp_path, "IVF4096,PQ4", progress=False)
    with pytest.raises(GalleryError, match="build_patch_index"):
        PatchSearch(tiny_gallery, tmp_path / "none")
    pairs = [(path.name, path) for path in list_images(photo_folder)[:3]]
    other = build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(0), quiet)
    with pytest.raises(GalleryError, match="other patches"):
        PatchSearch(other, flat_folder)
    with pytest.raises(SettingError, match="at least 0"):
        PatchSearch(tiny_gallery, flat_folder).search(queries, -1)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "patches.json").write_text((flat_folder / "patches.json").read_text())
    (tmp_path / "bad" / "patches.faiss").write_bytes(b"nonsense")
    with pytest.raises(GalleryError, match="no usable"):
        PatchSearch(tiny_gallery, tmp_path / "bad")
