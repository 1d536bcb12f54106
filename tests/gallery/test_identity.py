"""Encoders that differ: which setting it is, then and now."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from patchrerank.encoders import load_dense_encoder, load_encoder
from patchrerank.errors import GalleryError, QueryError
from patchrerank.gallery import (
    BuildOptions,
    CompressOptions,
    Gallery,
    LocalOptions,
    build_gallery,
    build_local,
    compress,
    encode_queries,
    import_gallery,
)
from patchrerank.gallery.identity import (
    differences,
    encoder_identity,
    index_options,
    loading_call,
    settings_of,
)
from patchrerank.gallery.own_encoder import check_encoder
from patchrerank.images import list_images
from patchrerank.regions import GridPyramid
from patchrerank.types import Queries

RECORD = {
    "spec": "timm:resnet18",
    "architecture": "timm:resnet18",
    "dim": 512,
    "preprocessing": {"image_size": [64, 64], "mean": [0.5, 0.5, 0.5], "interpolation": "bicubic"},
    "precision": "fp32",
    "pretrained": True,
    "weights": "a" * 64,
    "fingerprint": "b" * 64,
    "backend": "eager",
}


def changed(**settings):
    return {**RECORD, "fingerprint": "c" * 64, "backend": "onnx", **settings}


def test_only_the_settings_that_differ_are_told():
    sized = {**RECORD["preprocessing"], "image_size": (224, 224)}
    told = differences(RECORD, changed(preprocessing=sized))
    assert told == "image size 64 × 64 then, 224 × 224 now"
    assert differences(RECORD, changed(precision="bf16")) == "precision fp32 then, bf16 now"
    told = differences(RECORD, changed(weights="d" * 64, pretrained=False))
    assert told == (
        "pretrained True then, False now; weights aaaaaaaaaaaa… then, dddddddddddd… now"
    )
    assert differences(RECORD, changed()) == ""
    assert differences(RECORD, changed(pool="token")) == "pool unknown then, token now"
    many = {**changed(), **{f"setting_{number}": number for number in range(6)}}
    assert differences(RECORD, many).endswith("and 2 more")


def test_what_older_records_do_not_hold_is_no_difference():
    assert differences(RECORD, changed(pooling="avg", activation="ReLU")) == ""
    told = differences({**RECORD, "pooling": "avg"}, changed(pooling="token"))
    assert told == "pooling avg then, token now"


def test_how_an_encoder_is_loaded_again():
    assert loading_call(RECORD) == "load_encoder('timm:resnet18', image_size=64)"
    other = changed(
        preprocessing={"image_size": [64, 96]}, precision="bf16", pretrained=False, one_pass="32"
    )
    assert loading_call(other) == (
        "load_encoder('timm:resnet18', image_size=(64, 96), precision='bf16', pretrained=False)"
    )
    assert index_options(RECORD) == "--encoder timm:resnet18 --image-size 64"
    assert index_options(other) == (
        "--encoder timm:resnet18 --precision bf16 --random-weights --one-pass 32"
    )


def test_the_call_that_is_named_loads_the_same_encoder():
    made = load_encoder(
        "timm:test_resnet", image_size=32, precision="bf16", pretrained=False, backend="eager"
    )
    again = eval(loading_call(made.describe()), {"load_encoder": load_encoder})
    assert again.fingerprint == made.fingerprint


def test_an_append_says_which_setting_differs(tmp_path, tiny_encoder, larger_encoder, photo_folder):
    pairs = [(path.name, path) for path in list_images(photo_folder)[:2]]
    quiet = BuildOptions(progress=False, backgrounds=4)
    build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(0), quiet)
    more = replace(quiet, append=True)
    with pytest.raises(GalleryError) as caught:
        build_gallery(tmp_path / "g", pairs, larger_encoder, GridPyramid(0), more)
    said = str(caught.value)
    assert "image size 16 × 16 then, 24 × 24 now" in said
    assert tiny_encoder.fingerprint not in said
    int8 = replace(more, store="int8")
    with pytest.raises(GalleryError, match=r"regions grid:0, now it is grid:1; with store float32"):
        build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(1), int8)


def test_queries_say_which_setting_differs(tiny_gallery, larger_encoder, photo_folder):
    picture = photo_folder / "01.png"
    queries = encode_queries(larger_encoder, [picture])
    for given in (queries, queries.take([0])):
        with pytest.raises(QueryError) as caught:
            tiny_gallery.check_queries(given)
        said = str(caught.value)
        assert "image size 16 × 16 then, 24 × 24 now" in said
        assert "of 16 × 16 pixels), with the torch module of 'module:tiny'" in said
        assert len(said) < 400
    with pytest.raises(QueryError, match="other weights, image size, precision or whitening"):
        tiny_gallery.check_queries(Queries(queries.vectors, encoder=queries.encoder))
    with pytest.raises(QueryError, match="16 × 16 then, 24 × 24 now"):
        check_encoder(tiny_gallery, larger_encoder)


def test_the_own_encoder_passes(tiny_gallery, tiny_encoder):
    check_encoder(tiny_gallery, tiny_encoder)


def test_a_whitened_gallery_says_so(tmp_path, tiny_gallery, tiny_encoder, photo_folder):
    compress(tiny_gallery, tmp_path / "w", CompressOptions("float32", whiten=16, progress=False))
    white = Gallery(tmp_path / "w")
    queries = encode_queries(tiny_encoder, [photo_folder / "01.png"])
    with pytest.raises(QueryError, match=r"not whitened.*whitening=gallery\.whitening"):
        white.check_queries(queries)
    check_encoder(white, tiny_encoder)
    assert settings_of(white.manifest) == "image size 16 × 16, fp32, whitened"


def test_local_descriptors_name_the_call_that_makes_them(tmp_path, photo_folder):
    pairs = [(path.name, path) for path in list_images(photo_folder)[:2]]
    encoder = load_encoder(
        "timm:test_resnet", image_size=32, pretrained=False, backend="eager", device="cpu"
    )
    quiet = BuildOptions(progress=False, backgrounds=4)
    gallery = build_gallery(tmp_path / "g", pairs, encoder, GridPyramid(0), quiet)
    dense = load_dense_encoder(encoder, image_size=64)
    files = [path for _, path in pairs]
    local = build_local(gallery, dense, LocalOptions(progress=False), sources=files)
    call = loading_call(local.manifest.encoder)
    assert call == "load_dense_encoder('timm:test_resnet', pretrained=False)"
    again = eval(call, {"load_dense_encoder": load_dense_encoder})
    assert again.identity == dense.identity
    with pytest.raises(GalleryError) as caught:
        build_local(gallery, load_dense_encoder(encoder, image_size=96))
    said = str(caught.value)
    assert "sizes" in said and "64 × 64" in said and "96 × 96" in said
    assert len(said) < 350


def test_an_identity_before_whitening_is_that_of_what_made_the_vectors(
    tmp_path, tiny_gallery, tiny_encoder
):
    given = np.asarray(tiny_gallery.global_vectors)
    ids = [str(name) for name in tiny_gallery.ids]
    imported = import_gallery(tmp_path / "i", ids, given, given[:, None], encoder="a model of ours")
    for number, (gallery, maker) in enumerate(
        [(tiny_gallery, tiny_encoder.fingerprint), (imported, "a model of ours")]
    ):
        assert encoder_identity(gallery.manifest) == gallery.manifest.identity == maker
        out = tmp_path / f"w{number}"
        compress(gallery, out, CompressOptions("float32", whiten=4, progress=False))
        assert Gallery(out).manifest.identity != maker
        assert encoder_identity(Gallery(out).manifest) == maker
