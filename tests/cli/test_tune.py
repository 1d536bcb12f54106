"""``patchrerank tune``: what a user types, and what comes back."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import run, run_process
from patchrerank.cli.tune_output import show_calibration
from patchrerank.encoders import load_dense_encoder
from patchrerank.pipeline import Tuned
from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.configs import AmesConfig
from patchrerank.tuning import save_table
from signal_tables import signal_table
from small_datasets import write_dataset

TINY = ["--random-weights", "--quiet"]


def tune(*words, code=0):
    return run("tune", *words, code=code)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables") / "t"
    save_table(signal_table(queries=16), folder)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Six objects, each alone on grey as query and small in three noisy pictures."""
    root = tmp_path_factory.mktemp("tuneset")
    rng = np.random.default_rng(2)
    queries, images = [], []
    for number in range(6):
        thing = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
        drawn = Image.fromarray(thing).resize((48, 48), Image.Resampling.NEAREST)
        query = Image.new("RGB", (64, 64), (128, 128, 128))
        query.paste(drawn, (8, 8))
        entry = {"id": f"q{number}", "picture": query, "instance": f"o{number}"}
        queries.append({**entry, "box": [0.125, 0.125, 0.875, 0.875]})
        for place in range(3):
            noise = rng.integers(90, 160, (8, 8, 3), dtype=np.uint8)
            picture = Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC)
            picture.paste(drawn, (48 * (place % 2), 48 * (place // 2)))
            name = f"d{number}-{place}.png"
            x, y = (place % 2) / 2, (place // 2) / 2
            entry = {"id": name, "file": name, "picture": picture, "instance": f"o{number}"}
            images.append({**entry, "box": [x, y, x + 0.5, y + 0.5], "area": 0.25})
    return write_dataset(root, queries, images)


def test_a_table_is_tuned(table):
    words = ["--table", table, "--stages", "a", "--trials", 25, "--folds", 3, "--json", "--quiet"]
    found = json.loads(tune(*words).stdout)
    assert found["value"] >= found["published_grid"] - 1e-9
    assert found["trials"] == 25
    assert found["held_out"]["folds"] == 3
    assert found["sampler"] == "refine"


@pytest.mark.slow
def test_a_table_is_tuned_the_same_in_another_process(table):
    words = ["--table", table, "--stages", "a", "--trials", 25, "--folds", 3, "--json", "--quiet"]
    done = run_process("tune", *words)
    assert json.loads(done.stdout) == json.loads(tune(*words).stdout)
    assert done.stderr == ""


def test_a_person_reads_it(table):
    shown = tune(
        "--table", table, "--stages", "a,b", "--trials", 12, "--folds", 2, "--quiet"
    ).stdout
    for text in ("first stage", "published grid", "held out, over the first stage", "stages: a:"):
        assert text in shown


def test_exactly_and_with_several_goals(table, tmp_path):
    record = tmp_path / "r.json"
    tune("--table", table, "--stages", "b", "--exact", "--folds", 0, "--record", record, "--quiet")
    assert json.loads(record.read_text())["exact"]["pairs"] > 100
    words = ["--metric", "mAP", "--metric", "ms", "--constraint", "ms<=4", "--folds", 0]
    shown = tune("--table", table, "--stages", "a", "--trials", 20, *words, "--quiet").stdout
    assert "front: mAP" in shown


def test_a_study_goes_on_with_two_workers(table, tmp_path):
    words = ["--table", table, "--stages", "a", "--folds", 0, "--storage", tmp_path / "j.log"]
    first = json.loads(tune(*words, "--trials", 6, "--json", "--quiet").stdout)
    more = tune(*words, "--trials", 14, "--workers", 2, "--json", "--quiet")
    second = json.loads(more.stdout)
    assert (first["trials"], second["trials"]) == (6, 14)
    assert second["value"] >= first["value"]


def test_a_data_set_is_tuned_and_the_result_is_used(dataset, tmp_path, capsys):
    study = tmp_path / "study.toml"
    study.write_text(
        'stages = "patchify"\ntrials = 12\nfolds = 2\n[scores]\n'
        'encoder = "timm:test_resnet"\nimage_size = 64\nregions = "grid:1"\n'
        "[space.patchify]\nsizes = [2, 18]\n"
    )
    words = [study, "--dataset", dataset, "--cache", tmp_path / "cache", *TINY]
    assert "share 1/2: 6 queries scored" in tune(*words, "--share", "1/2").stdout
    assert "6 queries, 18 candidates" in tune(*words, "--build-only").stdout
    assert "the table is built" in tune(*words, "--share", "2/2").stdout
    tuned, page = tmp_path / "tuned.json", tmp_path / "page.html"
    found = json.loads(tune(*words, "--out", tuned, "--report", page, "--json").stdout)
    written = Tuned.load(tuned)
    check = written.calibration.check
    show_calibration(written.calibration)
    said = capsys.readouterr().out
    assert f"first five: Brier {check.first_five.brier:.3f}" in " ".join(said.split())
    assert "“nothing found” answers" in " ".join(said.split())
    show_calibration(None)
    assert not capsys.readouterr().out
    assert written.value == pytest.approx(found["value"])
    assert written.tuned_on.candidates == 18
    assert page.stat().st_size > 1000
    words = [dataset, "--tuned", tuned, "--cache", tmp_path / "cache", "--image-size", 64]
    again = run("evaluate", *words, "--json", *TINY)
    assert json.loads(again.stdout)["metrics"]["mAP"] == pytest.approx(100 * found["value"])


def test_tuned_for_galleries_that_are_whitened_and_stored_smaller(dataset, tmp_path):
    model = ["--encoder", "timm:test_resnet", "--image-size", 64]
    study = tmp_path / "study.toml"
    study.write_text(
        'stages = "patchify"\ntrials = 8\nfolds = 2\n[scores]\nwhiten = 12\n'
        'store = "rabitq2+int8"\n'
        'encoder = "timm:test_resnet"\nimage_size = 64\nregions = "grid:1"\n'
        "[space.patchify]\nsizes = [2, 18]\n"
    )
    cache, tuned, record = (tmp_path / name for name in ("cache", "tuned.json", "record.json"))
    words = [study, "--dataset", dataset, "--cache", cache, *TINY]
    assert "share 1/2: 6 queries" in tune(*words, "--share", "1/2").stdout
    found = json.loads(tune(*words, "--out", tuned, "--record", record, "--json").stdout)
    on = Tuned.load(tuned).tuned_on
    assert (on.whiten, on.store) == (12, "rabitq2+int8")
    assert json.loads(record.read_text())["table"]["whitening"] == "12 dimensions"
    folders = sorted(path.name for path in cache.iterdir())
    assert any(name.endswith("-rabitq2+int8-w12") for name in folders), "as compare keeps it"
    assert any("-rabitq2+int8-w12-table-" in name for name in folders)
    again = [dataset, "--tuned", tuned, "--cache", cache, "--image-size", 64, "--json", *TINY]
    value = pytest.approx(100 * found["value"])
    assert json.loads(run("evaluate", *again).stdout)["metrics"]["mAP"] == value
    compared = json.loads(run("compare", *again, "--stages", "global").stdout)
    assert compared[-1]["metrics"]["mAP"] == value
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for path in sorted(dataset.glob("d*.png"))[3:]:
        shutil.copy(path, pictures)
    smaller = ["--whiten", 12, "--store", "rabitq2+int8"]
    run("index", pictures, tmp_path / "own", *model, "--regions", "grid:1", *smaller, *TINY)
    asked = run("search", tmp_path / "own", pictures / "d3-1.png", "--tuned", tuned, "--json")
    assert json.loads(asked.stdout)["hits"][0]["id"] == "d3-1.png"
    run("index", pictures, tmp_path / "plain", *model, "--regions", "grid:1", *TINY)
    refused = run("search", tmp_path / "plain", pictures / "d3-1.png", "--tuned", tuned, code=2)
    mended = f"patchrerank compress {tmp_path / 'plain'} FOLDER --whiten 12 --store rabitq2+int8"
    assert mended in " ".join(refused.stderr.split())
    other = json.loads(tuned.read_text())
    other["tuned_on"]["whiten"] = 8
    tuned.write_text(json.dumps(other))
    refused = run("search", tmp_path / "own", pictures / "d3-1.png", "--tuned", tuned, code=2)
    index = "patchrerank index PICTURES FOLDER --encoder timm:test_resnet --image-size 64 "
    index += "--random-weights --regions grid:1 --whiten 8 --store rabitq2+int8"
    assert index in " ".join(refused.stderr.split())
    assert "patchrerank tune … --whiten 12 --store rabitq2+int8" in " ".join(refused.stderr.split())
    auto = tune(*words, "--whiten", "auto", "--store", "float32", "--build-only")
    assert "6 queries, 18 candidates" in auto.stdout
    assert any(path.name.endswith("-float32-wauto") for path in cache.iterdir())


def test_a_learned_reranker_is_tuned_behind_patchify(dataset, tmp_path):
    local = load_dense_encoder("timm:test_resnet", pretrained=False)
    weights = []
    for number in range(2):
        torch.manual_seed(number)
        weights.append(tmp_path / f"{number}.pt")
        torch.save(
            {"state": AmesNetwork(AmesConfig(local.dim, 8, 2, 1, 8)).state_dict()}, weights[-1]
        )
    study = tmp_path / "study.toml"
    study.write_text(
        'trials = 6\nfolds = 2\n[scores]\nbehind = "patchify"\n'
        'encoder = "timm:test_resnet"\nimage_size = 64\nregions = "grid:1"\n'
        "local_image_size = 64\nquery_image_size = 64\n"
    )
    words = [study, "--dataset", dataset, "--cache", tmp_path / "cache", *TINY]
    name = f"ames@{weights[0]}"
    found = json.loads(tune(*words, "--stages", name, "--json").stdout)
    assert found["held_out"]["folds"] == 2
    assert name in found["space"]["stages"][0]["reranker"]
    weights[0].write_bytes(weights[1].read_bytes())
    refused = tune(*words, "--stages", name, code=2).stderr
    assert "other" in refused, "scores of other weights are not taken over"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('stage = "a"', "stage: unknown key; did you mean stages"),
        ("trials = 1.5", "trials: expected a whole number"),
        ("trials = 0", "trials must be at least 1"),
        ("[scores]\nencodr = 1", "scores.encodr: unknown key; did you mean encoder"),
        ('[scores]\nquery_part = "bx"', "did you mean box"),
        ("[scores]\nwhiten = 1.5", "scores.whiten: expected a whole number"),
        ("[scores]\nwhiten = 0", "scores: whiten must keep at least 1 dimension, got 0"),
        ('[scores]\nwhiten = "many"', "give a number of dimensions such as 512, or 'auto'"),
        ('[scores]\nstore = "int9"', "scores: "),
        ("space = 3", "must be tables"),
        ('stages = "a"\n[space.a]\nsize = 3', "did you mean sizes"),
        ('stages = "a"\n[space.b]\nsizes = 3', "none of the stages"),
        ("trials =", "not valid TOML"),
        ("objective = []", "name at least one goal"),
    ],
)
def test_a_damaged_study_is_explained(table, tmp_path, content, why):
    study = tmp_path / "study.toml"
    study.write_text(content)
    assert why in tune(study, "--table", table, "--quiet", code=2).stderr


def test_bad_words_are_explained(table, tmp_path):
    assert "name a data set" in tune("--stages", "a", code=2).stderr
    assert "holds a, b; say which" in tune("--table", table, "--quiet", code=2).stderr
    there = tune("--table", table, "--stages", "a", "--whiten", 8, code=2).stderr
    assert "say how a table is built" in there
    absent = tune("--table", tmp_path / "none", code=2).stderr
    assert "no such file" in absent
    out = tune("--table", table, "--stages", "a", "--out", tmp_path / "t.json", code=2).stderr
    assert "does not say which gallery" in out
    assert (
        "did you mean" in tune("--table", table, "--stages", "a", "--sampler", "tp", code=2).stderr
    )
