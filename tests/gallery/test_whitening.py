"""Galleries that are whitened while they are built, and what is said of it."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from patchrerank.errors import EncoderError, GalleryError, ImageError, SettingError
from patchrerank.gallery import (
    BuildOptions,
    CompressOptions,
    Gallery,
    build_gallery,
    compress,
    encode_queries,
    merge,
    remove,
    verify,
    whitening_sample,
)
from patchrerank.gallery import whitening as learning
from patchrerank.gallery.manifest import BUILDING, MANIFEST
from patchrerank.gallery.whitening import explained
from patchrerank.images import list_images
from patchrerank.regions import FixedBoxes
from patchrerank.rerankers import Patchify

WHITE = BuildOptions(progress=False, whiten=8, store="float32", backgrounds=4)


@pytest.fixture
def small_sample(monkeypatch):
    monkeypatch.setattr(whitening_sample, "SAMPLE_IMAGES", 16)


def same_bits(one, other):
    assert one.manifest == other.manifest
    for name, path in one.files().items():
        assert path.read_bytes() == other.files()[name].read_bytes(), name
    assert one.whitening.fingerprint == other.whitening.fingerprint


@pytest.mark.parametrize("store", ["float32", "float16", "int8"])
def test_whitened_while_built_as_compressed_afterwards(
    tmp_path, photo_folder, tiny_encoder, tiny_gallery, store
):
    """All images are the sample here, so that the same is learned."""
    options = replace(WHITE, store=store)
    built = build_gallery(tmp_path / "g", photo_folder, tiny_encoder, "grid:2", options)
    compress(tiny_gallery, tmp_path / "c", CompressOptions(store, whiten=8, progress=False))
    squeezed = Gallery(tmp_path / "c")
    assert built.whitening.fingerprint == squeezed.whitening.fingerprint
    assert np.array_equal(built.patches, squeezed.patches)
    assert built.manifest.whitening == squeezed.manifest.whitening
    assert built.manifest.identity == squeezed.manifest.identity
    assert list(built.ids) == list(tiny_gallery.ids) and verify(built) == []
    assert not (tmp_path / "g" / whitening_sample.FOLDER).exists()
    found = Patchify(built, tiny_encoder).rank(photo_folder / built.ids[3], list(built.ids))
    assert found[0].id == built.ids[3] and found[0].local_score > 0.99


def test_of_many_images_a_sample_is_learned_on(tmp_path, photo_folder, tiny_encoder, small_sample):
    built = build_gallery(tmp_path / "g", photo_folder, tiny_encoder, "grid:1", WHITE)
    ids = [path.relative_to(photo_folder).as_posix() for path in list_images(photo_folder)]
    assert list(built.ids) == ids
    record = built.manifest.whitening
    assert (record.images, record.patches, record.dim, record.of_dim) == (16, 80, 8, 16)
    assert verify(built) == []
    raw = encode_queries(tiny_encoder, [photo_folder / name for name in built.ids])
    expected = built.whitening.apply(raw.vectors)
    assert np.allclose(built.global_vectors, expected, atol=1e-4)
    pairs = [(name, photo_folder / name) for name in ids]
    same_bits(built, build_again(tmp_path / "h", pairs, tiny_encoder, built))


def build_again(folder, images, encoder, like):
    made = build_gallery(folder, images, encoder, "grid:1", WHITE)
    made.manifest = replace(made.manifest, root=like.manifest.root)
    return made


def test_of_a_stream_the_first_images_are_the_sample(
    tmp_path, photo_folder, tiny_encoder, small_sample
):
    files = list_images(photo_folder)
    stream = ((path.name, path) for path in files)
    built = build_gallery(tmp_path / "g", stream, tiny_encoder, "grid:1", WHITE)
    assert list(built.ids) == [path.name for path in files]
    assert built.manifest.whitening.images == 16 and verify(built) == []
    twice = ((path.name, path) for path in (*files, files[0]))
    with pytest.raises(GalleryError, match="comes twice"):
        build_gallery(tmp_path / "h", twice, tiny_encoder, "grid:1", WHITE)


def killed_after(commits, monkeypatch, folder, images, encoder):
    plain, left = whitening_sample.GalleryWriter.commit, [commits]

    def commit(writer, *given):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        plain(writer, *given)

    with monkeypatch.context() as patch:
        patch.setattr(whitening_sample.GalleryWriter, "commit", commit)
        with pytest.raises(KeyboardInterrupt):
            build_gallery(folder, images, encoder, "grid:1", WHITE)


QUICK = (1, 3, 6)


@pytest.mark.parametrize(
    "moment", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in range(8)]
)
def test_a_killed_build_goes_on_with_the_same_bits(
    tmp_path, photo_folder, tiny_encoder, small_sample, monkeypatch, moment
):
    """Killed while the sample is encoded, while it is taken over, and behind it."""
    monkeypatch.setattr("patchrerank.gallery.builder.MIN_CHUNK", 5)
    monkeypatch.setattr("patchrerank.gallery.builder.CHUNK_CROPS", 1)
    whole = build_gallery(tmp_path / "whole", photo_folder, tiny_encoder, "grid:1", WHITE)
    killed_after(moment, monkeypatch, tmp_path / "g", photo_folder, tiny_encoder)
    again = build_gallery(tmp_path / "g", photo_folder, tiny_encoder, "grid:1", WHITE)
    assert list(again.ids) == list(whole.ids) and verify(again) == []
    assert again.whitening.fingerprint == whole.whitening.fingerprint
    assert np.array_equal(again.patches, whole.patches)
    left_over = {path.name for path in (tmp_path / "g").iterdir()}
    assert not left_over & {whitening_sample.FOLDER, BUILDING}


@pytest.mark.parametrize("whiten", ["none", None])
def test_a_build_killed_in_its_sample_does_not_go_on_plain(
    tmp_path, photo_folder, tiny_encoder, monkeypatch, whiten
):
    """Not asked (None), so few pictures of so few dimensions are not whitened either."""
    monkeypatch.setattr("patchrerank.gallery.builder.MIN_CHUNK", 5)
    monkeypatch.setattr("patchrerank.gallery.builder.CHUNK_CROPS", 1)
    folder, plain = tmp_path / "g", replace(WHITE, whiten=whiten)
    killed_after(2, monkeypatch, folder, photo_folder, tiny_encoder)
    with pytest.raises(GalleryError, match=r"begun with whitening, .* give --whiten .* as then"):
        build_gallery(folder, photo_folder, tiny_encoder, "grid:1", plain)
    assert build_gallery(folder, photo_folder, tiny_encoder, "grid:1", WHITE).manifest.whitened
    killed_after(0, monkeypatch, tmp_path / "h", photo_folder, tiny_encoder)  # of nothing yet
    made = build_gallery(tmp_path / "h", photo_folder, tiny_encoder, "grid:1", plain)
    assert not made.manifest.whitened and verify(made) == []


def test_a_sample_that_is_gone_is_encoded_again(
    tmp_path, photo_folder, tiny_encoder, small_sample, monkeypatch
):
    whole = build_gallery(tmp_path / "whole", photo_folder, tiny_encoder, "grid:1", WHITE)
    killed_after(2, monkeypatch, tmp_path / "g", photo_folder, tiny_encoder)
    (tmp_path / "g" / whitening_sample.FOLDER / MANIFEST).unlink()
    again = build_gallery(tmp_path / "g", photo_folder, tiny_encoder, "grid:1", WHITE)
    assert np.allclose(again.patches, whole.patches, atol=1e-4) and verify(again) == []


def test_append_whitens_likewise(tmp_path, photo_folder, tiny_encoder):
    files = [(path.name, path) for path in list_images(photo_folder)]
    built = build_gallery(tmp_path / "g", files[:30], tiny_encoder, "grid:1", WHITE)
    before = built.whitening.fingerprint
    for whiten in (None, 8, "auto"):
        more = BuildOptions(progress=False, append=True, whiten=whiten)
        grown = build_gallery(tmp_path / "g", files, tiny_encoder, "grid:1", more)
    assert len(grown) == 40 and grown.whitening.fingerprint == before and verify(grown) == []
    raw = encode_queries(tiny_encoder, [files[35][1]]).vectors
    assert np.allclose(grown.global_vectors[35], grown.whitening.apply(raw)[0], atol=1e-5)
    with pytest.raises(GalleryError, match=r"whitening to 8 dimensions, now they are 4"):
        build_gallery(tmp_path / "g", files, tiny_encoder, "grid:1", replace(more, whiten=4))


def test_a_gallery_begun_without_whitening(tmp_path, photo_folder, tiny_encoder, quiet):
    build_gallery(tmp_path / "g", photo_folder, tiny_encoder, "grid:1", quiet)
    for options in (WHITE, replace(WHITE, append=True)):
        with pytest.raises(GalleryError, match="was begun without whitening; leave --whiten"):
            build_gallery(tmp_path / "g", photo_folder, tiny_encoder, "grid:1", options)


def test_the_whitening_of_another_gallery(
    tmp_path, photo_folder, tiny_encoder, other_encoder, tiny_gallery
):
    """As galleries of several folders need it: one identity, so that one query fits all."""
    files = [(path.name, path) for path in list_images(photo_folder)]
    first = build_gallery(tmp_path / "g", files[:30], tiny_encoder, "grid:1", WHITE)
    taken = replace(WHITE, whiten=first.folder)
    second = build_gallery(tmp_path / "h", files[30:], tiny_encoder, "grid:1", taken)
    assert second.manifest.identity == first.manifest.identity
    assert second.manifest.whitening == first.manifest.whitening
    assert len(second) == 10 and verify(second) == []
    compress(
        tiny_gallery, tmp_path / "c", CompressOptions(whiten=str(first.folder), progress=False)
    )
    assert Gallery(tmp_path / "c").manifest.identity == first.manifest.identity
    with pytest.raises(GalleryError, match="learned on vectors of another encoder"):
        build_gallery(tmp_path / "i", files, other_encoder, "grid:1", taken)
    with pytest.raises(GalleryError, match="is not whitened; name a gallery that is"):
        build_gallery(
            tmp_path / "j",
            files,
            tiny_encoder,
            "grid:1",
            replace(WHITE, whiten=tiny_gallery.folder),
        )


def test_skipped_images_of_the_sample_are_recorded(tmp_path, photo_folder, tiny_encoder):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    files = [*list_images(photo_folder)[:20], broken]
    skip = replace(WHITE, on_error="skip")
    built = build_gallery(tmp_path / "g", files, tiny_encoder, "grid:1", skip)
    assert [name for name, _ in built.manifest.skipped] == [str(broken)] and len(built) == 20
    with pytest.raises(ImageError, match=r"broken\.png"):
        build_gallery(tmp_path / "h", files, tiny_encoder, "grid:1", WHITE)
    nothing = [(f"{number}", broken) for number in range(3)]
    with pytest.raises(GalleryError, match="none of 3 images could be indexed"):
        build_gallery(tmp_path / "i", nothing, tiny_encoder, "grid:1", skip)


def test_regions_without_the_whole_image(tmp_path, photo_folder, tiny_encoder, quiet):
    files = [(path.name, path) for path in list_images(photo_folder)]
    boxes = {name: np.array([[0.1, 0.2, 0.7, 0.9], [0.3, 0.1, 0.8, 0.6]]) for name, _ in files}
    regions = FixedBoxes(boxes, whole_image=False)
    plain = build_gallery(tmp_path / "p", files, tiny_encoder, regions, quiet)
    built = build_gallery(tmp_path / "g", files, tiny_encoder, regions, WHITE)
    assert np.array_equal(built.patches, built.whitening.apply(np.array(plain.patches)))
    assert np.allclose(
        built.global_vectors, built.whitening.apply(np.array(plain.global_vectors)), atol=1e-6
    )


def test_too_many_dimensions_are_refused_and_the_sample_is_kept(
    tmp_path, photo_folder, tiny_encoder, monkeypatch
):
    few = list_images(photo_folder)[:3]
    with pytest.raises(EncoderError, match="15 vectors are too few to whiten to 16 dimensions"):
        build_gallery(tmp_path / "g", few, tiny_encoder, "grid:1", replace(WHITE, whiten=16))
    with monkeypatch.context() as patch:
        patch.setattr(type(tiny_encoder), "prepare_regions", None)
        auto = replace(WHITE, whiten="auto")
        built = build_gallery(tmp_path / "g", few, tiny_encoder, "grid:1", auto)
    assert built.dim == built.manifest.whitening.dim <= 14, "as many as 15 patches span"
    with pytest.raises(EncoderError, match="too few"):
        build_gallery(tmp_path / "h", few, tiny_encoder, "grid:1", replace(WHITE, whiten=16))
    plain = build_gallery(tmp_path / "h", few, tiny_encoder, "grid:1", BuildOptions(progress=False))
    assert not plain.manifest.whitened
    assert not (plain.folder / whitening_sample.FOLDER).exists()


def test_few_images_are_warned_about(tmp_path, photo_folder, tiny_encoder, caplog, monkeypatch):
    files = list_images(photo_folder)
    with caplog.at_level(logging.WARNING):
        build_gallery(tmp_path / "g", files[:20], tiny_encoder, "grid:1", WHITE)
    assert "the whitening was learned on 20 images, fewer than" in caplog.text
    caplog.clear()
    monkeypatch.setattr(learning, "FEW_IMAGES", 40)
    build_gallery(tmp_path / "h", files, tiny_encoder, "grid:1", WHITE)
    assert not caplog.records


def test_of_many_patches_whole_images_are_drawn(tmp_path, tiny_gallery, monkeypatch):
    monkeypatch.setattr(learning, "MOST_PATCHES", 14 * 25 + 3)
    made = [learning.find_whitening(tiny_gallery, 8, seed) for seed in (0, 0, 1)]
    assert [record.patches for _, record in made] == [14 * 25] * 3
    prints = [whitening.fingerprint for whitening, _ in made]
    assert prints[0] == prints[1] != prints[2]


def test_the_record_and_what_is_said(tmp_path, photo_folder, tiny_encoder):
    auto = replace(WHITE, whiten="auto")
    built = build_gallery(tmp_path / "g", photo_folder, tiny_encoder, "grid:2", auto)
    record = built.manifest.whitening
    assert record.chosen and record.dim == built.dim == 16
    assert record.variance == 1 and record.seed == 0 and record.images == 40
    assert set(record.spectrum) == {"0.5", "0.8", "0.9", "0.95", "0.99"}
    assert sorted(record.spectrum.values()) == list(record.spectrum.values())
    assert explained(record).startswith("whitened to 16 of 16 dimensions, chosen since ")
    assert "560 patches of 40 images" in explained(record)
    fixed = replace(record, chosen=False, dim=8, variance=0.815)
    assert "8 of 16 dimensions, which hold 81.5% of the variance" in explained(fixed)
    content = json.loads((tmp_path / "g" / MANIFEST).read_text())
    content["whitening"]["dim"] = 7
    (tmp_path / "g" / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(GalleryError, match=r"whitening: is of another number of dimensions"):
        Gallery(tmp_path / "g")


@pytest.mark.parametrize("whiten", [0, -3, True, 2.5, "many", "", "\0", "/nowhere", b"auto"])
def test_what_is_no_whitening(whiten):
    for make in (BuildOptions, CompressOptions):
        with pytest.raises(SettingError, match="whiten"):
            make(whiten=whiten)


def test_no_images(tmp_path, tiny_encoder):
    for images in ([], iter([])):
        with pytest.raises(GalleryError, match="there are no images to index"):
            build_gallery(tmp_path / "g", images, tiny_encoder, "grid:1", WHITE)


def test_one_picture_cannot_be_whitened(tmp_path, tiny_encoder):
    with pytest.raises(EncoderError, match="too few to whiten to 8"):
        build_gallery(
            tmp_path / "g", [("a", Image.new("RGB", (9, 9)))], tiny_encoder, "grid:1", WHITE
        )


def test_removed_images_are_not_learned_on(tmp_path, tiny_gallery, tiny_encoder, photo_folder):
    folder = tmp_path / "g"
    shutil.copytree(tiny_gallery.folder, folder)
    gone = list(tiny_gallery.ids)[:10]
    remove(folder, gone)
    _, record = learning.find_whitening(Gallery(folder), 8, 0)
    assert (record.images, record.patches) == (30, 420)
    files = [(name, photo_folder / name) for name in list(tiny_gallery.ids)[10:]]
    rest = build_gallery(tmp_path / "r", files, tiny_encoder, "grid:2", WHITE)
    assert rest.manifest.whitening == record


def test_parts_with_one_whitening_are_joined(tmp_path, photo_folder, tiny_encoder):
    files = [(path.name, path) for path in list_images(photo_folder)]
    first = build_gallery(tmp_path / "a", files[:25], tiny_encoder, "grid:1", WHITE)
    taken = replace(WHITE, whiten=first.folder)
    second = build_gallery(tmp_path / "b", files[25:], tiny_encoder, "grid:1", taken)
    apart = build_gallery(tmp_path / "c", files[25:], tiny_encoder, "grid:1", WHITE)
    whole = merge(tmp_path / "g", [first, second], progress=False)
    assert whole.whitening.fingerprint == first.whitening.fingerprint
    assert whole.manifest.whitening == first.manifest.whitening and verify(whole) == []
    found = Patchify(whole, tiny_encoder).rank(files[30][1], list(whole.ids))
    assert found[0].id == files[30][0]
    with pytest.raises(GalleryError, match="differ in identity"):
        merge(tmp_path / "h", [first, apart], progress=False)
    compress(whole, tmp_path / "c8", CompressOptions("int8", progress=False))
    assert Gallery(tmp_path / "c8").manifest.identity == first.manifest.identity
    plain = [
        build_gallery(tmp_path / name, some, tiny_encoder, "grid:1", replace(WHITE, whiten=None))
        for name, some in (("p", files[:25]), ("q", files[25:]))
    ]
    joined = merge(tmp_path / "pq", plain, progress=False)
    compress(joined, tmp_path / "w", CompressOptions("float32", whiten=8, progress=False))
    assert Gallery(tmp_path / "w").manifest.whitening.images == 40
