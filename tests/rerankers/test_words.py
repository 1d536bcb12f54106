"""Queries in words: Patchify says where in the picture they are met."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from tests.encoders.test_text_encoder import MODELS, write_model
from tests.helpers import miniatures
from tests.helpers.command_line import run

import patchrerank
from patchrerank import Text
from patchrerank.datasets.ilias_features import unescape_id
from patchrerank.datasets.ilias_ids import read_ilias_ids
from patchrerank.encoders import Preprocessing, load_encoder
from patchrerank.errors import EncoderError, QueryError
from patchrerank.gallery import Gallery, build_gallery
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import Patchify
from patchrerank.rerankers._local import local_of
from patchrerank.types import Shortlist


class Mean(torch.nn.Module):
    """The mean colour of a picture."""

    def forward(self, pixels):
        return pixels.mean((2, 3))


def two_words(prompts):
    known = {"red": (1.0, 0.1, 0.1), "green": (0.1, 1.0, 0.1)}
    return np.array([known[prompt] for prompt in prompts], dtype=np.float32)


PLAIN = Preprocessing(image_size=(16, 16), mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(Mean(), preprocessing=PLAIN, device="cpu", text=two_words)


@pytest.fixture(scope="module")
def gallery(encoder, tmp_path_factory):
    """Grey pictures, two with a small patch of colour in a corner."""
    photos = tmp_path_factory.mktemp("photos")
    grey = np.full((64, 64, 3), 128, np.uint8)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(grey).save(photos / name)
    red, green = grey.copy(), grey.copy()
    red[:16, 48:], green[48:, :16] = (255, 10, 10), (10, 255, 10)
    Image.fromarray(red).save(photos / "red.png")
    Image.fromarray(green).save(photos / "green.png")
    folder = tmp_path_factory.mktemp("made") / "gallery"
    return build_gallery(folder, photos, encoder, regions=GridPyramid(3))


ALL = ["a.png", "b.png", "c.png", "green.png", "red.png"]


@pytest.mark.parametrize(
    ("word", "box"), [("red", (0.75, 0, 1, 0.25)), ("green", (0, 0.75, 0.25, 1))]
)
def test_words_win_and_the_box_says_where(gallery, encoder, word, box):
    hits = Patchify(gallery, encoder).rank(Text(word), ALL)
    assert hits[0].id == f"{word}.png"
    assert hits[0].box == pytest.approx(box)
    assert hits[0].local_score > 0.99 > 0.8 > hits[1].local_score


def test_a_batch_of_words(gallery, encoder):
    reranker = Patchify(gallery, encoder)
    lists = reranker.rank_batch([Text("red"), Text("green")], [ALL, ALL], top_k=1)
    assert [hits[0].id for hits in lists] == ["red.png", "green.png"]


def test_words_and_pictures_are_not_mixed(gallery, encoder):
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    with pytest.raises(QueryError, match="pass them separately"):
        Patchify(gallery, encoder).rank_batch([Text("red"), red], [ALL, ALL])


def test_words_have_no_box(gallery, encoder):
    with pytest.raises(QueryError, match="so no box"):
        Patchify(gallery, encoder).rank(Text("red"), ALL, box=(0, 0, 1, 1))


def test_words_need_an_encoder(gallery):
    with pytest.raises(QueryError, match="the query is words but this reranker has no encoder"):
        Patchify(gallery).rank(Text("red"), ALL)


def test_words_need_a_text_tower(gallery):
    mute = load_encoder(Mean(), preprocessing=PLAIN, device="cpu")
    with pytest.raises(EncoderError, match="has no text tower"):
        Patchify(gallery, mute).rank(Text("red"), ALL)


def test_a_single_text_is_no_batch(gallery, encoder):
    with pytest.raises(QueryError, match="expected a sequence of queries"):
        Patchify(gallery, encoder).rank_batch(Text("red"), [ALL])


class NothingToCompare:
    def check_queries(self, local):
        raise AssertionError


def test_a_stage_that_compares_pictures_says_so(gallery, encoder):
    queries = Patchify(gallery, encoder).encode([Text("red")])
    assert queries.take([0]).texts == [Text("red")]
    shortlist = Shortlist(np.array([[0]]), np.array([[1.0]]))
    with pytest.raises(QueryError, match="chamfer compares pictures, and the query is words"):
        local_of(queries, shortlist, NothingToCompare(), "chamfer")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A folder with a tiny model of two towers, photographs, and their gallery."""
    root = tmp_path_factory.mktemp("spoken")
    write_model(root / "model", MODELS["plain"])
    rng = np.random.default_rng(5)
    (root / "photos").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(root / "photos" / name)
    spec = f"open_clip:local-dir:{root / 'model'}"
    run("index", root / "photos", root / "g", "--encoder", spec, "--regions", "grid:1", "--quiet")
    return root


def test_the_commands_take_words(spoken):
    words = ["--text", "a blue mug", "--template", "a photo of {}", "--template", "{}"]
    found = json.loads(run("search", spoken / "g", *words, "--json").stdout)
    assert found["text"] == "a blue mug"
    assert found["templates"] == ["a photo of {}", "{}"]
    assert sorted(hit["id"] for hit in found["hits"]) == ["a.png", "b.png", "c.png"]
    (spoken / "s.json").write_text('["b.png", "c.png"]')
    ranked = run("rerank", spoken / "g", spoken / "s.json", *words, "--lam", "0", "--json")
    scores = {hit["id"]: hit["local_score"] for hit in found["hits"]}
    for hit in json.loads(ranked.stdout)["hits"]:
        assert hit["local_score"] == pytest.approx(scores[hit["id"]], abs=1e-6)


def test_a_whitened_gallery_takes_words(spoken):
    run("compress", spoken / "g", spoken / "w", "--whiten", "8", "--quiet")
    reranker = patchrerank.load_reranker(spoken / "w")
    queries = reranker.encode([Text("a blue mug")])
    plain = patchrerank.load_reranker(spoken / "g").encode([Text("a blue mug")])
    whitening = Gallery(spoken / "w").whitening
    np.testing.assert_allclose(queries.vectors, whitening.apply(plain.vectors), atol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is no query"),
        (["q.png", "--text", "mug"], "two queries"),
        (["q.png", "--template", "a {}"], "--template is for words"),
        (["--text", "mug", "--template", "a"], r"needs \{\} once"),
        (["--text", " "], "needs some"),
    ],
)
def test_the_command_names_what_is_wrong_with_the_query(spoken, words, message):
    found = run("search", spoken / "g", *words, code=2)
    assert re.search(message, found.stderr)


def test_evaluate_asks_ilias_in_words(spoken):
    root = miniatures.ilias(spoken / "ilias")
    for number, name in enumerate(read_ilias_ids(root).text_queries):
        (root / "ilias_core" / unescape_id(name)).write_text(
            f"object number {number}", encoding="utf-8"
        )
    asked = f"{root}:queries=text"
    how = ["--encoder", f"open_clip:local-dir:{spoken / 'model'}", "--regions", "grid:1", "--quiet"]
    how += ["--cache", spoken / "cache", "--json"]
    found = json.loads(run("evaluate", asked, *how, "--template", "my {}").stdout)
    assert found["queries"] == 3
    assert found["settings"]["query templates"] == "my {}"
    assert 0 < found["metrics"]["mAP"] <= 100
    refused = run("compare", asked, "--stages", "global", "--stages", "chamfer", *how, code=2)
    assert "the queries are words" in refused.stderr
