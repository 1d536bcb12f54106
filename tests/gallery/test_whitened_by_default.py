"""What a new gallery gets where nobody says whether it is whitened."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from packed_pictures import encoded, write_shards
from patchrerank.encoders import Preprocessing, load_encoder
from patchrerank.errors import GalleryError
from patchrerank.gallery import BuildOptions, build_gallery, verify, whiten_choice
from patchrerank.gallery.whitening_sample import FOLDER

QUIET = BuildOptions(progress=False, backgrounds=0)
FEW = 30
"""That count as few here."""


@pytest.fixture(autouse=True)
def small(monkeypatch, caplog):
    monkeypatch.setattr(whiten_choice, "FEW_IMAGES", FEW)
    caplog.set_level(logging.INFO, "patchrerank.gallery.whiten_choice")


@pytest.fixture(scope="module")
def wide_encoder():
    """Makes vectors of 128 dimensions."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torch.nn.Sequential(
            torch.nn.AdaptiveAvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(192, 128)
        )
    preprocessing = Preprocessing((16, 16), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "area")
    return load_encoder(module, preprocessing=preprocessing, device="cpu", name="wide")


def pictures(count, seed=0):
    return [(f"{n}", encoded(seed + n)) for n in range(count)]


def test_whitened_in_int8_as_if_asked(tmp_path, wide_encoder, caplog):
    built = build_gallery(tmp_path / "g", pictures(40), wide_encoder, "grid:2", QUIET)
    asked = replace(QUIET, whiten="auto", store="int8")
    same = build_gallery(tmp_path / "h", pictures(40), wide_encoder, "grid:2", asked)
    assert built.manifest == same.manifest and built.manifest.store == "int8"
    assert built.manifest.whitening.chosen and np.array_equal(built.patches, same.patches)
    assert "not whitened" not in caplog.text
    floats = replace(QUIET, store="float32")
    assert (
        build_gallery(tmp_path / "f", pictures(40), wide_encoder, "grid:2", floats).manifest.store
        == "float32"
    )


def test_appended_and_resumed_as_begun(tmp_path, wide_encoder):
    whitened = build_gallery(tmp_path / "g", pictures(40), wide_encoder, "grid:1", QUIET)
    grown = replace(QUIET, append=True)
    named = [(f"new {name}", image) for name, image in pictures(5, 90)]
    more = build_gallery(tmp_path / "g", named, wide_encoder, "grid:1", grown)
    assert len(more) == 45 and more.manifest.identity == whitened.manifest.identity
    plain = replace(QUIET, whiten="none")
    made = build_gallery(tmp_path / "p", pictures(40), wide_encoder, "grid:1", plain)
    assert not made.manifest.whitened and made.manifest.store == "float32"
    named = [(f"new {name}", image) for name, image in pictures(40, 40)]
    more = build_gallery(tmp_path / "p", named, wide_encoder, "grid:1", grown)
    assert len(more) == 80 and not more.manifest.whitened and verify(more) == []
    with pytest.raises(GalleryError, match="was begun with whitening; leave --whiten"):
        build_gallery(tmp_path / "g", named, wide_encoder, "grid:1", replace(grown, whiten="none"))


def test_few_or_short_ones_stay_plain(tmp_path, wide_encoder, tiny_encoder, caplog):
    made = build_gallery(tmp_path / "g", pictures(FEW - 1), wide_encoder, "grid:1", QUIET)
    assert not made.manifest.whitened and made.manifest.store == "float32"
    assert "29 images are fewer than the 30 that whitening is learned from" in caplog.text
    assert "; --whiten auto (whiten='auto') asks for it" in caplog.text
    made = build_gallery(tmp_path / "s", pictures(40), tiny_encoder, "grid:1", QUIET)
    assert not made.manifest.whitened and "vectors have 16 dimensions" in caplog.text


def test_pictures_that_are_too_much_alike_stay_plain(tmp_path, wide_encoder, caplog):
    same = [(f"{n}", encoded(n % 2)) for n in range(40)]
    made = build_gallery(tmp_path / "g", same, wide_encoder, "grid:1", QUIET)
    assert not made.manifest.whitened and "too much alike to learn from" in caplog.text


@pytest.mark.parametrize(("count", "whitened"), [(FEW - 1, False), (FEW + 10, True)])
def test_of_streams_the_first_images_say(tmp_path, wide_encoder, caplog, count, whitened):
    """A tar's pictures are not counted beforehand, nor those of an iterator."""
    write_shards(tmp_path / "shards", [count - 10, 10])
    made = build_gallery(tmp_path / "g", tmp_path / "shards", wide_encoder, "grid:2", QUIET)
    assert made.manifest.whitened == whitened and len(made) == count and verify(made) == []
    assert ("not whitened" in caplog.text) == (not whitened)
    assert not (made.folder / FOLDER).exists()
    made = build_gallery(tmp_path / "i", iter(pictures(count)), wide_encoder, "grid:2", QUIET)
    assert made.manifest.whitened == whitened and len(made) == count
    how = replace(QUIET, whiten="auto" if whitened else "none", store=made.manifest.store)
    same = build_gallery(tmp_path / "h", pictures(count), wide_encoder, "grid:2", how)
    assert np.array_equal(made.patches, same.patches)
    assert np.array_equal(made.global_vectors, same.global_vectors)


def test_an_empty_stream_names_the_gallery(tmp_path, wide_encoder):
    with pytest.raises(GalleryError, match=r"g: there are no images to index"):
        build_gallery(tmp_path / "g", iter([]), wide_encoder, "grid:1", QUIET)
    assert not (tmp_path / "g" / "manifest.json").exists()
