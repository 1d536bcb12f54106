"""``rerank``, ``search`` and ``evaluate``: shortlists of every form in, runs out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import pytrec_eval
from PIL import Image

from command_line import run, run_process
from patchrerank.cli.wording import as_options
from patchrerank.datasets import load_dataset
from patchrerank.tuning.tables.run_files import read_run

ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "64"]
IDS = ["03.png", "07.png", "01.png"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rerank") / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((120, 90)).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def gallery(photos):
    folder = photos.parent / "gallery"
    run("index", photos, folder, *ENCODER, "--regions", "grid:1", "--backend", "eager", "--quiet")
    return folder


def hits(*words, stdin):
    """Rerank by the patches alone, unless told otherwise."""
    how = [] if "--lam" in words else ["--lam", 0]
    return json.loads(run("rerank", *words, *how, "--json", stdin=stdin).stdout)["hits"]


@pytest.mark.parametrize(
    "shortlist",
    [
        "q1 Q0 03.png 1 0.9 tag\nq1 Q0 07.png 2 0.8 tag\nq1 Q0 01.png 3 0.1 tag\n",
        "03.png,0.9\n07.png,0.8\n01.png,0.1\n",
        "id,score\n03.png,0.9\n07.png,0.8\n01.png,0.1\n",
        "".join(
            f'{{"id": "{n}", "score": {s}}}\n' for n, s in zip(IDS, (0.9, 0.8, 0.1), strict=True)
        ),
        '\ufeff[["03.png", 0.9], ["07.png", 0.8], ["01.png", 0.1]]',
    ],
)
def test_shortlists_of_every_form(gallery, photos, shortlist):
    found = hits(gallery, photos / "07.png", "-", stdin=shortlist)
    assert found[0]["id"] == "07.png"
    assert {hit["id"]: hit["global_score"] for hit in found} == pytest.approx(
        dict(zip(IDS, (0.9, 0.8, 0.1), strict=True))
    )


def test_distances(gallery, photos, tmp_path):
    (tmp_path / "s.json").write_text(
        '[{"id": "03.png", "distance": 0.53}, {"id": "07.png", "distance": 0.58}]'
    )
    words = [gallery, photos / "07.png", tmp_path / "s.json", "--lam", 0.3, "--gamma", 4]
    refused = run("rerank", *words, code=2).stderr
    assert "has the keys 'id', 'distance', but no 'score'" in refused
    assert "--metric 'cosine-distance'" in refused and "metric=" not in refused
    found = hits(*words, "--metric", "cosine-distance", stdin="")
    assert {hit["id"]: hit["global_score"] for hit in found} == pytest.approx(
        {"03.png": 0.47, "07.png": 0.42}
    )
    found = hits(*words[:3], "--lower-is-better", stdin="")
    assert found[0]["id"] == "07.png"
    sums = '[["03.png", 2.4], ["07.png", 1.5]]'
    found = hits(
        gallery, photos / "07.png", "-", "--metric", "maxsim-sum", "--query-vectors", 3, stdin=sums
    )
    assert {hit["id"]: hit["global_score"] for hit in found} == pytest.approx(
        {"03.png": 0.8, "07.png": 0.5}
    )


def test_errors_speak_of_options(gallery, photos):
    words = ["rerank", gallery, photos / "07.png", "-"]
    rising = json.dumps([[f"{n:02d}.png", n / 10] for n in range(1, 10)])
    said = run(*words, "--sort", stdin=rising, code=2).stderr
    assert "--sort would turn the list upside down" in said
    assert "say --higher-is-better" in said and "--metric 'cosine-distance'" in said
    assert hits(*words[1:], "--sort", "--higher-is-better", stdin=rising)[0]["id"] == "07.png"
    several = "q1 Q0 03.png 1 0.9 tag\nq2 Q0 07.png 1 0.8 tag\n"
    assert "say which with --query-id 'q1'" in run(*words, stdin=several, code=2).stderr
    assert [h["id"] for h in hits(*words[1:], "--query-id", "q2", stdin=several)] == ["07.png"]
    said = run(*words, "--metric", "maxsim-sum", stdin=rising, code=2).stderr
    assert "--query-vectors" in said
    unknown = run(*words, stdin='["3.png"]', code=2).stderr
    assert "did you mean" in unknown and "its ids look like '00.png', '01.png'" in unknown
    said = run("search", gallery, "a red mug", code=2).stderr
    assert "a red mug: no such file; pass the path of a picture, not words" in said
    assert as_options("sort=True, resort=True, x.metric=") == "--sort, resort=True, x.metric="


def test_scores_that_are_no_cosines_are_warned_of(gallery, photos, caplog):
    dots = json.dumps([[name, score] for name, score in zip(IDS, (40, 30, 20), strict=True)])
    run("rerank", gallery, photos / "07.png", "-", "--lam", 0.3, stdin=dots)
    assert "outside the [−1, 1] of cosines" in caplog.text


def test_runs_of_one_query(gallery, photos, tmp_path):
    dots = json.dumps([[f"{n:02d}.png", 40 - n] for n in range(12)])
    words = [gallery, photos / "07.png", "-", "--shortlist-size", 3, "--gamma", 60]
    found = hits(*words, "--run", tmp_path / "run.txt", "--query-id", "q1", stdin=dots)
    ids = [hit["id"] for hit in found]
    assert list(read_run(tmp_path / "run.txt")) == ["q1"]
    assert list(read_run(tmp_path / "run.txt")["q1"]) == ids
    run_ = {"q1": read_run(tmp_path / "run.txt")["q1"]}
    judge = pytrec_eval.RelevanceEvaluator({"q1": {ids[4]: 1}}, {"recip_rank"})
    assert judge.evaluate(run_)["q1"]["recip_rank"] == pytest.approx(1 / 5)
    record = json.loads(
        run("search", gallery, photos / "07.png", "--run", tmp_path / "run.json", "--json").stdout
    )
    assert read_run(tmp_path / "run.json") == {
        "07.png": {hit["id"]: hit["score"] for hit in record["hits"]}
    }
    (tmp_path / "notes.txt").write_text("mine")
    assert (
        "no run"
        in run("search", gallery, photos / "07.png", "--run", tmp_path / "notes.txt", code=2).stderr
    )
    assert (tmp_path / "notes.txt").read_text() == "mine"
    said = run(
        "search", gallery, photos / "07.png", "--run", tmp_path / "r", "--query-id", "q 1", code=2
    )
    assert "TREC line" in said.stderr


def test_candidates_that_the_gallery_does_not_hold(gallery, photos, tmp_path):
    listed = [["03.png", 0.9], ["new.png", 0.8], ["07.png", 0.7], ["late.png", 0.1]]
    words = ["rerank", gallery, photos / "07.png", "-", "--lam", 0]
    given = {"stdin": json.dumps(listed)}
    assert "2 of 4 ids are not in the gallery" in run(*words, code=2, **given).stderr
    places = ["--missing", "keep", "--run", tmp_path / "run.trec"]
    done = run(*words, *places, "--json", **given)
    found = json.loads(done.stdout)["hits"]
    ids = ["07.png", "new.png", "03.png", "late.png"]
    assert [hit["id"] for hit in found] == ids
    assert [hit["status"] for hit in found] == ["rescored", "kept"] * 2
    assert [hit["global_score"] for hit in found] == pytest.approx([0.7, 0.8, 0.9, 0.1])
    lines = [line.split() for line in (tmp_path / "run.trec").read_text().splitlines()]
    assert [(line[2], float(line[4])) for line in lines] == [(h["id"], h["score"]) for h in found]
    table = run(*words, *places[:2], **given).stdout
    assert [line.split()[-2] for line in table.splitlines() if ".png" in line] == [
        hit["status"] for hit in found
    ]
    dropped = run_process(*words, "--missing", "drop", "--json", **given)
    assert [hit["id"] for hit in json.loads(dropped.stdout)["hits"]] == ids[::2]
    assert "2 of 4 candidates are not in the gallery and were dropped" in dropped.stderr
    held = run(*words, stdin=json.dumps(listed[::2])).stdout
    assert "status" not in held and run(*words, "--missing", "drop", **given).stdout == held


def test_a_run_of_a_data_set(photos, tmp_path):
    run(
        "composite", photos, tmp_path / "data", "--cut-from", photos, "--distractors", 4,
        "--positives", 2, "--max-instances", 3, "--long-side", 96, "--quiet",
    )  # fmt: skip
    words = [
        "evaluate",
        tmp_path / "data",
        *ENCODER,
        "--regions",
        "grid:1",
        "--backend",
        "eager",
        "--quiet",
    ]
    words += ["--gamma", 60]
    done = run(*words, "--json", "--run", tmp_path / "run.txt", "--convention", "full")
    data = load_dataset(tmp_path / "data")
    judged = {
        query.id: {image.id: int(image.instance == query.instance) for image in data.images}
        for query in data.queries
    }
    found = pytrec_eval.RelevanceEvaluator(judged, {"map"}).evaluate(read_run(tmp_path / "run.txt"))
    theirs = [found[query.id]["map"] for query in data.queries]
    ours = json.loads(done.stdout)["per_query"]
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-9)
    said = run(*words, "--regions", "grid:2", "--run", tmp_path / "run.txt", code=2).stderr
    assert "2 --regions" in said


@pytest.mark.parametrize("option", [("--lam", 0.9), ("--gamma", 9), ("--shortlist-size", 1)])
def test_what_stages_decide_is_not_said_twice(gallery, photos, option):
    words = [photos / "07.png", "-", "--stages", "patchify", *option]
    refused = run("rerank", gallery, *words, code=2, stdin=json.dumps(IDS)).stderr
    assert f"--stages decides what {option[0]} would" in refused
    words = [gallery, photos / "07.png", "--stages", "patchify", *option]
    if option[0] == "--shortlist-size":  # of the first stage's list, which no stage decides
        assert run("search", *words).stdout.count(".png") == 1
    else:
        assert f"--stages decides what {option[0]}" in run("search", *words, code=2).stderr


@pytest.mark.parametrize("command", ["search", "rerank"])
def test_a_crop_to_no_box_is_refused(gallery, photos, command):
    words = [command, gallery, photos / "07.png", *(["-"] if command == "rerank" else [])]
    crop = ["--query-crop", "box", "--json"]
    refused = run(*words, *crop, code=2, stdin=json.dumps(IDS)).stderr
    assert "there is none; say where the object is with --box" in refused
    cropped = run(*words, *crop, "--box", "0.1,0.1,0.9,0.9", stdin=json.dumps(IDS)).stdout
    assert json.loads(cropped)["query_crop"] == "box"
