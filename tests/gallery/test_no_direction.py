"""Pictures whose vectors are all zeros, NaN or infinite: named, or skipped and recorded."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from patchrerank import encoders
from patchrerank.analysis.training_vectors import training_vectors
from patchrerank.encoders import Preprocessing, Whitening, load_dense_encoder, load_encoder
from patchrerank.errors import EncoderError, QueryError, VectorError
from patchrerank.first_stage.patch_index import build_patch_index
from patchrerank.gallery import (
    BuildOptions,
    CompressOptions,
    Gallery,
    LocalOptions,
    build_gallery,
    build_local,
    compress,
    encode_local_queries,
    encode_queries,
    verify,
)
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import Patchify

torch = pytest.importorskip("torch")

QUIET = BuildOptions(progress=False, backgrounds=4)
SKIP = replace(QUIET, on_error="skip")


class Blind(torch.nn.Module):
    """Sees nothing (zeros) where all is black, and NaN where all is white."""

    def forward(self, x):
        found = torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)
        return torch.where((found > 0.999).all(1, keepdim=True), torch.nan, found)


class BlindMap(torch.nn.Module):
    def forward(self, x):
        found = torch.nn.functional.adaptive_avg_pool2d(x, 4)
        return torch.where((found > 0.999).all((1, 2, 3), keepdim=True), torch.nan, found)


def draw_photo(seed):
    """A smooth random picture without black or white."""
    coarse = np.random.default_rng(seed).integers(40, 220, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)


def plain(side=16):
    return Preprocessing((side, side), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "area")


@pytest.fixture(scope="module")
def blind():
    return load_encoder(Blind(), preprocessing=plain(), device="cpu", batch_size=8, name="blind")


@pytest.fixture(scope="module")
def blind_map():
    return load_dense_encoder(BlindMap(), preprocessing=plain(), device="cpu", name="blind map")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Five photographs: one black at the lower right, one black, one white."""
    folder = tmp_path_factory.mktemp("photos")
    corner = draw_photo(1)
    corner.paste((0, 0, 0), (32, 32, 64, 64))
    pictures = {
        "a": draw_photo(0),
        "corner": corner,
        "f": draw_photo(2),
        "x-black": Image.new("RGB", (40, 30)),
        "x-white": Image.new("RGB", (40, 30), "white"),
    }
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")
    return folder


def without(photos, *names):
    return [(p.name, p) for p in sorted(photos.iterdir()) if p.stem not in names]


@pytest.mark.parametrize(
    ("left", "message"),
    [
        (["x-black", "x-white"], r"all-zero vector for 'corner.png' in the region \(0.5, 0.5, 1"),
        (["corner", "x-white"], r"all-zero vector for 'x-black.png' and 4 more, which has no"),
        (["corner", "x-black"], r"NaN or infinite values for 'x-white.png' and 4 more;"),
    ],
)
def test_a_build_names_picture_region_and_remedy(tmp_path, photos, blind, left, message):
    with pytest.raises(VectorError, match=message) as caught:
        build_gallery(tmp_path / "g", without(photos, *left), blind, GridPyramid(1), QUIET)
    assert "--on-error skip" in str(caught.value) and isinstance(caught.value, EncoderError)


def test_a_skipped_picture_is_recorded_and_the_others_are_as_without_it(
    tmp_path, photos, blind, caplog
):
    made = build_gallery(tmp_path / "g", without(photos), blind, GridPyramid(1), SKIP)
    reasons = dict(made.manifest.skipped)
    assert list(made.ids) == ["a.png", "f.png"] and verify(made) == []
    assert set(reasons) == {"corner.png", "x-black.png", "x-white.png"}
    assert "in the region (0.5, 0.5, 1, 1)" in reasons["corner.png"]
    assert "skipped x-white.png: encoder" in caplog.text
    pure = [(name, file) for name, file in without(photos) if name in made.ids]
    alone = build_gallery(tmp_path / "h", pure, blind, GridPyramid(1), QUIET)
    np.testing.assert_array_equal(made.patches, alone.patches)
    again = build_gallery(tmp_path / "g", without(photos), blind, GridPyramid(1), SKIP)
    assert dict(again.manifest.skipped) == reasons


def test_a_picture_that_is_no_picture_is_skipped_beside_them(tmp_path, photos, blind):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    items = [("broken.png", broken), *without(photos, "x-white")]
    made = build_gallery(tmp_path / "g", items, blind, GridPyramid(1), SKIP)
    assert list(made.ids) == ["a.png", "f.png"]
    assert [name for name, _ in made.manifest.skipped] == [
        "broken.png", "corner.png", "x-black.png",
    ]  # fmt: skip


def test_append(tmp_path, photos, blind):
    folder = tmp_path / "g"
    build_gallery(folder, without(photos, "corner", "x-black", "x-white"), blind, "grid:1", QUIET)
    more = replace(QUIET, append=True)
    with pytest.raises(VectorError, match=r"'corner.png' in the region"):
        build_gallery(folder, without(photos, "x-white"), blind, "grid:1", more)
    made = build_gallery(folder, without(photos), blind, "grid:1", replace(more, on_error="skip"))
    assert len(made) == 2 and len(made.manifest.skipped) == 3


def test_what_whitening_leaves_no_direction_of(tmp_path, photos, blind, monkeypatch):
    """A grey picture that equals the mean has none once the gallery is whitened."""
    grey = Image.new("RGB", (20, 20), (128, 128, 128))
    items = [*without(photos, "corner", "x-black", "x-white"), ("grey", grey)]
    mean = encode_queries(blind, [grey]).vectors[0]
    taught = Whitening(mean, np.eye(len(mean), 4))
    monkeypatch.setattr(encoders.Spectrum, "whitening", lambda spectrum, dim: taught)
    whiten = CompressOptions(whiten=4, store="float32", progress=False)
    made = build_gallery(tmp_path / "g", items, blind, GridPyramid(1), QUIET)
    with pytest.raises(VectorError, match="whitening returned an all-zero vector for 'grey'"):
        compress(made, tmp_path / "c", whiten)
    with pytest.raises(VectorError, match="whitening returned an all-zero vector for query 0"):
        encode_queries(blind, [grey], whitening=taught)
    sound = build_gallery(tmp_path / "h", items[:2], blind, GridPyramid(1), QUIET)
    compress(sound, tmp_path / "w", whiten)
    skip = replace(SKIP, append=True)
    grown = build_gallery(tmp_path / "w", items[2:], blind, GridPyramid(1), skip)
    assert [name for name, _ in grown.manifest.skipped] == ["grey"] and len(grown) == 2


def test_queries_are_named(photos, blind, blind_map):
    black, white, good = (photos / f"{name}.png" for name in ("x-black", "x-white", "a"))
    with pytest.raises(VectorError, match=r"query 1, '.*x-black.png', which has no direction"):
        encode_queries(blind, [good, black])
    box, files = [0.5, 0.5, 1.0, 1.0], [good, good, photos / "corner.png"]
    with pytest.raises(VectorError, match=r"query 2, '.*corner.png' in the region \(0.5, 0.5, 1"):
        encode_queries(blind, files, boxes=[None, None, box], crop="box", batch=2)
    with pytest.raises(VectorError, match=r"query 5, '.*x-white.png'"):
        encode_local_queries(blind_map, [good] * 5 + [white])
    with pytest.raises(VectorError, match=r"'.*x-black.png' in the region \(0, 0, 0.5, 1\)"):
        blind.encode_images([good] * 8 + [black], [[0, 0, 0.5, 1]] * 9)


def test_a_ready_vector_of_zeros(tiny_gallery):
    with pytest.raises(QueryError, match="query 0 is a vector of zeros"):
        Patchify(tiny_gallery).rank(np.zeros(tiny_gallery.dim), list(tiny_gallery.ids[:2]))


def test_local_descriptors(tmp_path, photos, blind, blind_map):
    items = without(photos, "x-white")
    gallery = build_gallery(tmp_path / "g", items, blind, "grid:0", SKIP)
    white = photos / "x-white.png"
    sources = dict(enumerate(photos / name for name in gallery.ids)) | {1: white}
    quiet = LocalOptions(progress=False)
    with pytest.raises(VectorError, match=r"dense encoder .* NaN or infinite .* for 'corner.png'"):
        build_local(gallery, blind_map, quiet, sources=sources)
    made = build_local(gallery, blind_map, replace(quiet, on_error="skip"), sources=sources)
    assert [name for name, _ in made.manifest.skipped] == ["corner.png"]
    assert [len(made.descriptors_of(row)) for row in range(3)] == [16, 0, 16]


def damaged(gallery, patch, value):
    """The gallery with one patch vector that is no direction."""
    vectors = np.memmap(gallery.files()["patches"], "<f4", "r+").reshape(-1, gallery.dim)
    vectors[patch] = value
    vectors.flush()
    return Gallery(gallery.folder)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_stored_patches_are_named(tmp_path, photos, blind, value):
    items = without(photos, "corner", "x-black", "x-white")
    gallery = build_gallery(tmp_path / "g", items, blind, GridPyramid(1), QUIET)
    bad = damaged(gallery, 5 + 4, value)
    message = r"holds .* for 'f.png' in the region \(0.5, 0.5, 1, 1\)"
    with pytest.raises(VectorError, match=message):
        compress(bad, tmp_path / "c", CompressOptions(progress=False))
    with pytest.raises(VectorError, match=message):
        build_patch_index(bad, tmp_path / "i", "Flat", progress=False)


def test_boxes_that_train_a_quantiser(tmp_path, photos, blind):
    items = without(photos, "x-black", "x-white", "corner")
    gallery = build_gallery(tmp_path / "g", items, blind, "grid:0", QUIET)
    file = tmp_path / "boxes.json"
    sources = dict.fromkeys(gallery.ids, photos / "corner.png")
    gallery.__dict__["pictures"] = [sources[name] for name in gallery.ids]
    file.write_text(json.dumps({"f.png": [[0.5, 0.5, 1, 1]]}))
    with pytest.raises(VectorError, match=r"corner.png' in the region \(0.5, 0.5, 1, 1\)"):
        training_vectors(gallery, "boxes", file, blind)
