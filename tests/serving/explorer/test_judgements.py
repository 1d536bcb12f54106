"""Judgements become a data set that tuning starts from."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from command_line import run
from patchrerank.datasets import load_dataset

STUDY = """
stages = "patchify"
trials = 4
folds = 0
[scores]
encoder = "timm:test_resnet"
image_size = 64
regions = "grid:1"
"""
BOX = [0.1, 0.2, 0.7, 0.9]


@pytest.fixture(scope="module")
def client(site):
    with site.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def sent(client, photo_folder):
    content = (photo_folder / "03.png").read_bytes()
    return client.post("/explorer/pictures", content=content).json()["picture"]


@pytest.fixture(scope="module")
def judgements(sent):
    return [
        {"query": {"picture": sent, "box": BOX}, "right": ["03.png", "04.png"],
         "wrong": ["sub/05.png"], "seen": ["06.png"]},
        {"query": {"id": "07.png"}, "right": ["07.png", "08.png"], "wrong": ["09.png"]},
        {"query": {"id": "11.png"}, "right": [], "wrong": ["12.png"]},
        {"query": {"text": "a cup"}, "right": ["13.png"], "wrong": []},
    ]  # fmt: skip


def unpacked(answer, folder):
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(folder)
    return folder / "judgements"


@pytest.mark.parametrize("wrong", [False, True])
def test_what_was_not_judged_is_left_out_or_counts_as_wrong(client, judgements, tmp_path, wrong):
    body = {"judgements": judgements, "seen_are_wrong": wrong}
    data = load_dataset(unpacked(client.post("/explorer/dataset", json=body), tmp_path))
    first, second = data.queries
    assert first.positives == ("03.png", "04.png")
    assert first.box == pytest.approx(BOX)
    assert second.positives == ("08.png",), "its own picture is no hit"
    assert {image.id for image in data.images} == {
        "03.png", "04.png", "sub/05.png", "08.png", "09.png", *(("06.png",) if wrong else ())
    }  # fmt: skip
    assert set(first.junk) == {"08.png", "09.png"}
    assert set(second.junk) == {"03.png", "04.png", "sub/05.png", *(("06.png",) if wrong else ())}
    assert data.args["made_by"] == "patchrerank explore"


def test_tuning_starts_from_it(client, judgements, tmp_path):
    data = unpacked(client.post("/explorer/dataset", json={"judgements": judgements}), tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    found = run(
        "tune", tmp_path / "study.toml", "--dataset", data, "--random-weights", "--quiet",
        "--out", tmp_path / "tuned.json", "--json",
    )  # fmt: skip
    assert json.loads(found.stdout)["trials"] == 4
    assert (tmp_path / "tuned.json").is_file()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "must be a list"),
        ({"judgements": []}, "at least one hit"),
        ({"judgements": [1]}, "expected an object"),
        ({"judgements": [{"query": {"id": "07.png"}, "right": "x"}]}, "list of ids"),
        ({"judgements": [{"query": {"id": "07.png"}, "right": ["a"], "wrong": ["a"]}]}, "both"),
        ({"judgements": [{"query": {"id": "07.png"}, "right": ["none.png"]}]}, "none.png"),
        ({"judgements": [{"query": {}, "right": ["08.png"]}]}, "one of picture"),
    ],
)
def test_what_cannot_be_written_is_explained(client, body, why):
    answer = client.post("/explorer/dataset", json=body)
    assert answer.status_code == 422 and why in answer.json()["detail"]


def test_a_lost_picture_is_asked_for_again(client):
    body = {"judgements": [{"query": {"picture": "0"}, "right": ["08.png"]}]}
    assert client.post("/explorer/dataset", json=body).status_code == 410
