"""Galleries that are joined ask queries in views, as one folder of all would."""

from __future__ import annotations

import shutil
from itertools import pairwise

import pytest

from patchrerank.encoders import load_encoder
from patchrerank.gallery import BuildOptions, Gallery, build_gallery, compress, merge, remove
from patchrerank.gallery.backgrounds import BACKGROUNDS
from patchrerank.gallery.compress import CompressOptions
from patchrerank.pipeline import load_reranker
from patchrerank.types import QueryViews
from product_photos import product, scene

PICTURES = [(f"p{number}", scene(number)) for number in range(6)]
IDS = [name for name, _ in PICTURES]
QUIET = {"progress": False}
HOW = BuildOptions(progress=False, backgrounds=40)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("timm:test_resnet", pretrained=False, image_size=64, backend="eager")


@pytest.fixture(scope="module")
def parts(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    return [
        build_gallery(folder / f"{a}", PICTURES[a:b], encoder, "grid:1", HOW)
        for a, b in pairwise((0, 3, 6))
    ]


@pytest.mark.parametrize("copy", [False, True])
def test_what_is_joined_keeps_backgrounds_of_all(encoder, parts, tmp_path, copy):
    made = merge(tmp_path / "all", parts, copy=copy, **QUIET)
    assert set(made.backgrounds.ids) == set(IDS) and len(made.backgrounds) == 64
    again = merge(tmp_path / "again", parts, copy=not copy, **QUIET)
    assert (again.place / BACKGROUNDS).read_bytes() == (made.place / BACKGROUNDS).read_bytes()
    reranker = load_reranker(made, "patchify", encoder=encoder, query_views=QueryViews(3))
    hits = reranker.rank(product(), IDS)
    assert {hit.id for hit in hits} == set(IDS) and hits[0].query_views == "plain"


def test_a_set_and_a_folder_give_the_same_hits(encoder, parts, tmp_path):
    joined = [merge(tmp_path / f"{copy}", parts, copy=copy, **QUIET) for copy in (False, True)]
    rankers = [load_reranker(one, encoder=encoder, query_views=QueryViews(2)) for one in joined]
    first, second = (ranker.rank(product(), IDS) for ranker in rankers)
    assert first == second


def test_none_are_of_removed_pictures(parts, tmp_path):
    copies = [shutil.copytree(part.place, tmp_path / part.place.name) for part in parts]
    remove(copies[0], ["p1"])
    made = merge(tmp_path / "all", copies[:1], **QUIET)
    assert set(made.backgrounds.ids) == {"p0", "p2"}
    remove(made.place, ["p2"])
    grown = merge(made.place, copies[1:], append=True, **QUIET)
    assert set(grown.backgrounds.ids) == {"p0", "p3", "p4", "p5"}
    (grown.place / BACKGROUNDS).unlink()
    grown = merge(made.place, copies[1:], append=True, **QUIET)
    assert set(grown.backgrounds.ids) == {"p0", "p3", "p4", "p5"}


def test_parts_without_any_join_to_a_gallery_without(parts, tmp_path):
    copies = [shutil.copytree(part.place, tmp_path / part.place.name) for part in parts]
    for copy in copies:
        (copy / BACKGROUNDS).unlink()
    assert not merge(tmp_path / "all", copies, **QUIET).has_backgrounds
    half = merge(tmp_path / "half", [copies[0], parts[1]], **QUIET)
    assert set(half.backgrounds.ids) == {"p3", "p4", "p5"}


def test_a_whitened_copy_of_a_set_keeps_them(encoder, parts, tmp_path):
    made = merge(tmp_path / "all", parts, **QUIET)
    compress(made, tmp_path / "small", CompressOptions("int8", whiten=8, progress=False))
    small = Gallery(tmp_path / "small")
    assert small.backgrounds.jpegs == made.backgrounds.jpegs
    reranker = load_reranker(small, "patchify", encoder=encoder, query_views=QueryViews(2))
    assert reranker.rank(product(), IDS)[0].query_views == "plain"
