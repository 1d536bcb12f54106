"""``patchrerank reproduce``, from the words on the command line to the files it writes."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from patchrerank.cli.main import app
from patchrerank.datasets import DatasetImage, DatasetQuery, write_index
from patchrerank.errors import PatchRerankError

ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "32"]


def run(*words):
    done = CliRunner().invoke(app, ["reproduce", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    queries, images = [], []
    for number in range(6):
        file = root / f"{number}.png"
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((48, 48)).save(file)
        box = np.array([[0, 0, 0.5 + number / 12, 0.5]], np.float32)
        images.append(DatasetImage(f"i{number}", file, number % 3, box))
        if number < 3:
            queries.append(DatasetQuery(f"q{number}", file, number))
    write_index(root, queries, images, {})
    return root


def test_table7_needs_nothing(tmp_path):
    text = run("table7", "--out", tmp_path / "t.json", "--figure", tmp_path / "t.svg")
    assert "40 figures compared with the printed ones, none differs." in text
    assert "518.42" in text
    record = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert record["name"] == "table7"
    assert record["lines"][0]["raw"] == "103.68"
    assert all(line["differs"] == [] for line in record["lines"])
    ElementTree.parse(tmp_path / "t.svg")


def test_size_and_distance(dataset, tmp_path):
    words = ["--dataset", dataset, *ENCODER, "--cache", tmp_path / "cache", "--quiet"]
    text = run("figs1", *words, "--figure", tmp_path / "s1.svg")
    for part in ("by object size and distance", "Published finding", "To run it in full", "random"):
        assert part in text, part
    ElementTree.parse(tmp_path / "s1.svg")
    record = json.loads(run("figS1", *words, "--json"))
    assert len(record["lines"]) == 20
    assert record["lines"][0]["compared"] == "global"
    assert record["missing"]


def test_published_rows_are_shown_for_orientation(dataset, tmp_path):
    words = ["--dataset", dataset, *ENCODER, "--cache", tmp_path / "cache", "--quiet"]
    text = run("table5", *words, "--m", 8, "--nbits", 2)
    for part in ("published INSTRE", "published ILIAS", "81.99", "of other data"):
        assert part in text
    assert "≠" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table3"], "no table or figure 'table3'"),
        (["table4"], "pass --dataset FOLDER"),
        (["table4", "--out", "no/such/file.json"], "there is no folder no/such"),
    ],
)
def test_bad_usage(words, message):
    with pytest.raises(PatchRerankError, match=message):
        run(*words)


def test_encoders_that_cannot_be_loaded_are_named(dataset, tmp_path):
    words = ["--dataset", dataset, *ENCODER, "--encoder", "timm:no_such_model"]
    text = run("table4", *words, "--cache", tmp_path, "--quiet")
    assert "timm:no_such_model could not be loaded" in text
    with pytest.raises(PatchRerankError, match="no_such_model"):
        run("table4", "--dataset", dataset, "--encoder", "timm:no_such_model")
