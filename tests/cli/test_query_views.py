"""``--query-views``, ``--mask`` and ``backgrounds``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from command_line import run
from patchrerank.gallery import Gallery
from product_photos import disc, product, scene

ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "64"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("views")
    (place / "photos").mkdir()
    for number in range(6):
        scene(number, 96, 72).save(place / "photos" / f"{number}.png")
    product().save(place / "query.png")
    scene(50).save(place / "scene.png")
    Image.fromarray(disc().astype(np.uint8) * 255).save(place / "mask.png")
    how = [*ENCODER, "--regions", "grid:1", "--backend", "eager", "--quiet"]
    run("index", place / "photos", place / "gallery", *how)
    (place / "list.json").write_text(json.dumps([f"{number}.png" for number in range(6)]))
    return place


def found(*words):
    return json.loads(run(*words, "--json").stdout)


def test_search_and_rerank_in_views(folder):
    for command in (["search"], ["rerank"]):
        asked = [*command, folder / "gallery", folder / "query.png"]
        asked += [folder / "list.json"] if command == ["rerank"] else []
        plain = found(*asked, "--query-views", "none")
        seen = found(*asked, "--query-views", "3:20")
        usual = found(*asked)
        assert usual["query_views"].startswith("auto (2:20")
        assert {hit["query_views"] for hit in usual["hits"]} == {"plain"}
        assert seen["query_views"] == "3:20:0.7" and "query_views" not in plain
        assert {hit["query_views"] for hit in seen["hits"]} == {"plain"}
        assert {hit["query_views"] for hit in plain["hits"]} == {"none"}
        assert seen["hits"] != plain["hits"]


def test_a_mask_file_tells_the_object(folder):
    asked = ["search", folder / "gallery", folder / "scene.png", "--query-views", "2"]
    assert {hit["query_views"] for hit in found(*asked)["hits"]} == {"none"}
    asked += ["--mask", folder / "mask.png"]
    assert {hit["query_views"] for hit in found(*asked)["hits"]} == {"mask"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--query-views", "eight"], "malformed"),
        (["--query-views", "none", "--mask", "mask.png"], "would change nothing"),
        (["--query-views", "2", "--mask", "no.png"], "no.png"),
        (["--query-views", "2", "--mask", "photos/0.png"], "96 × 72 pixels"),
    ],
)
def test_options_that_do_not_fit_are_one_line(folder, options, said, monkeypatch):
    monkeypatch.chdir(folder)
    result = run("search", "gallery", "query.png", *options, code=2)
    assert said in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_a_gallery_without_backgrounds_names_the_command(folder, tmp_path):
    how = [*ENCODER, "--regions", "grid:1", "--backend", "eager", "--quiet"]
    bare = tmp_path / "bare"
    run("index", folder / "photos", bare, *how, "--backgrounds", "0")
    result = run("search", bare, folder / "query.png", "--query-views", "2", code=2)
    assert f"patchrerank backgrounds {bare}" in result.stderr
    said = found("backgrounds", bare, "--count", "5")
    assert said["backgrounds"] == 5 and said["bytes"] > 0
    assert found("info", bare, "--verify")["bytes"]["backgrounds"] > said["bytes"]
    assert len(found("search", bare, folder / "query.png", "--query-views", "2")["hits"]) == 6
    run("backgrounds", bare, "--from", folder / "photos", "--seed", "3")
    assert set(Gallery(bare).backgrounds.ids) == {""}
