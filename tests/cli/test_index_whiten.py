"""``patchrerank index --whiten``, and what other commands say of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from command_line import run
from patchrerank.gallery import Gallery, verify, whiten_choice, whitening

ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "32"]
EAGER = [*ENCODER, "--backend", "eager", "--quiet", "--regions", "grid:1"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(8):
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((120, 90)).save(folder / f"{number}.png")
    return folder


def test_indexed_whitened_appended_and_searched(tmp_path, photos, caplog):
    said = run("index", photos, tmp_path / "g", *EAGER, "--whiten", "auto")
    made = Gallery(tmp_path / "g")
    assert (
        f"whitened to {made.dim} of {made.manifest.whitening.of_dim} dimensions, chosen since"
        in said.stdout
    )
    assert "40 patches of 8 images, shrinkage 0." in said.stdout
    assert "the whitening was learned on 8 images, fewer than" in caplog.text
    again = run("index", photos, tmp_path / "g", *EAGER, "--whiten", "auto", "--json")
    assert json.loads(again.stdout)["whitening"]["dim"] == made.dim
    told = run("info", tmp_path / "g", "--verify")
    assert "whitened to" in told.stdout and "all is well" in told.stdout
    assert json.loads(run("info", tmp_path / "g", "--json").stdout)["whitening"]["images"] == 8
    hits = run("search", tmp_path / "g", photos / "3.png", "--json").stdout
    assert json.loads(hits)["hits"][0]["id"] == "3.png"
    grown = tmp_path / "grown"
    grown.mkdir()
    Image.open(photos / "0.png").save(grown / "9.png")
    run("index", grown, tmp_path / "h", *EAGER, "--whiten", tmp_path / "g")
    assert Gallery(tmp_path / "h").manifest.identity == made.manifest.identity


def test_the_default(tmp_path, photos, caplog, monkeypatch):
    grid = [*EAGER, "--regions", "grid:3"]
    for module in (whiten_choice, whitening):
        monkeypatch.setattr(module, "LEAST_DIM", 96)
    run("index", photos, tmp_path / "few", *grid)
    assert not Gallery(tmp_path / "few").manifest.whitened
    assert "not whitened, since 8 images are fewer than the 128" in caplog.text
    monkeypatch.setattr(whiten_choice, "FEW_IMAGES", 8)
    said = run("index", photos, tmp_path / "g", *grid)
    made = Gallery(tmp_path / "g")
    assert made.manifest.whitened and made.manifest.store == "int8"
    assert f"whitened to {made.dim} of" in said.stdout
    run("index", photos, tmp_path / "g", *grid)  # again: as it is
    again = Gallery(tmp_path / "g").manifest
    assert again == made.manifest
    failed = run("index", photos, tmp_path / "g", *grid, "--whiten", "none", code=2)
    assert "was begun with whitening" in failed.stderr
    run("index", photos, tmp_path / "plain", *grid, "--whiten", "none")
    plain = Gallery(tmp_path / "plain").manifest
    assert not plain.whitened and plain.store == "float32"
    for m, whitened in (("8", True), ("3", False)):
        pq = ["--store", "pq", "--m", m, "--nbits", "4"]
        run("index", photos, tmp_path / m, *grid, *pq)
        assert Gallery(tmp_path / m).manifest.whitened == whitened
    failed = run("compress", tmp_path / "g", tmp_path / "c", "--store", "pq", code=2)
    assert "is already int8; compress the float gallery (that of index" in failed.stderr


def test_whitened_and_quantised(tmp_path, photos):
    pq = ["--store", "pq", "--m", "4", "--nbits", "4"]
    said = run("index", photos, tmp_path / "g", *EAGER, "--whiten", "16", *pq)
    made = Gallery(tmp_path / "g")
    assert made.dim == 16 and made.manifest.store == "pq" and verify(made) == []
    assert (
        f"whitened to 16 of {made.manifest.whitening.of_dim} dimensions, which hold" in said.stdout
    )


def test_compressed_whitened(tmp_path, photos):
    run("index", photos, tmp_path / "g", *EAGER)
    said = run("compress", tmp_path / "g", tmp_path / "c", "--whiten", "auto", "--quiet")
    assert said.stdout.startswith("whitened to ")
    more = ["--store", "float16", "--whiten", tmp_path / "c", "--quiet", "--json"]
    said = run("compress", tmp_path / "g", tmp_path / "d", *more)
    first, second = Gallery(tmp_path / "c"), Gallery(tmp_path / "d")
    assert first.manifest.whitening == second.manifest.whitening
    assert json.loads(said.stdout)["whitening"]["patches"] == 40


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("many", "whiten is 'many'; give a number of dimensions such as 512, 'auto', or"),
        ("0", "whiten must keep at least 1 dimension, got 0"),
        ("41", "40 vectors are too few to whiten to 41 dimensions; use at least 42"),
        ("600", "dim must lie in 1…"),
    ],
)
def test_what_cannot_be(tmp_path, photos, value, words):
    failed = run("index", photos, tmp_path / "g", *EAGER, "--whiten", value, code=2)
    assert words in failed.stderr and not (tmp_path / "g" / "manifest.json").exists()
