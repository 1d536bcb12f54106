"""``patchrerank train``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from patchrerank.cli.main import app
from patchrerank.datasets import DatasetImage, DatasetQuery, load_dataset, write_index
from patchrerank.errors import DatasetError, PatchRerankError, SettingError
from patchrerank.rerankers.ames import load_ames
from patchrerank.rerankers.elvis import load_elvis

ENCODER = ("--encoder", "timm:test_resnet", "--local-image-size", "96", "--query-image-size", "64")
TINY = ("--model-dim", "16", "--layers", "1", "--feedforward", "16", "--batch-size", "9")
SHORT = ("--epochs", "2", "--hold-out", "0.2", "--query-descriptors", "12")


def train(*words):
    done = CliRunner().invoke(app, ["train", *map(str, words), "--quiet"])
    if isinstance(done.exception, PatchRerankError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint of random weights, so that every call has the same ones."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return f"timm:test_resnet/{path}"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    from PIL import Image

    root = tmp_path_factory.mktemp("objects")
    rng = np.random.default_rng(0)
    queries, images = [], []
    for number in range(7):
        tile = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        for place in range(4):
            canvas = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            picture = Image.fromarray(canvas).resize((96, 96), Image.Resampling.BICUBIC)
            at = (24 * place, 24)
            picture.paste(Image.fromarray(tile), at)
            name = f"{number}_{place}.png"
            picture.save(root / name)
            box = np.array([at[0], at[1], at[0] + 24, at[1] + 24], np.float32) / 96
            if place == 0:
                queries.append(DatasetQuery(f"q{number}", root / name, number, box))
            else:
                images.append(DatasetImage(name, root / name, number, box[None], 1 / 16))
    write_index(root, queries, images, {"made": "for a test"})
    assert len(load_dataset(root).queries) == 7
    return root


def test_ames(tmp_path, dataset, weights):
    encoder = (*ENCODER[:1], weights, *ENCODER[2:])
    cache = ("--cache", tmp_path / "cache")
    out = tmp_path / "new" / "ames.pt"
    how = (dataset, *encoder, *TINY, *SHORT, *cache, "--windows", "0.5,1", "--anchors", "both")
    told = json.loads(train("ames", *how, "--out", out, "--start", "matching", "--json"))
    assert told["epochs"] == 2 and told["checkpoint"] == str(out)
    assert set(told["validation"]) == {"mAP fused", "mAP local", "mAP first stage"}
    network = load_ames(out)
    assert network.config.model_dim == 16 and network.config.layers == 1
    curve = json.loads((tmp_path / "new" / "ames.pt.curve.json").read_text())
    assert len(curve["loss"]) == told["steps"] and (tmp_path / "new/ames.pt.curve.svg").exists()
    before = out.read_bytes()
    again = train("ames", *how, "--out", out, "--start", "matching")
    assert "2 of 2 epochs" in again and out.read_bytes() == before, "a finished run stays"


@pytest.mark.slow
def test_a_student_of_ames(tmp_path, dataset, weights):
    encoder = (*ENCODER[:1], weights, *ENCODER[2:])
    out, cache = tmp_path / "ames.pt", ("--cache", tmp_path / "cache")
    how = (dataset, *encoder, *TINY, *SHORT, *cache, "--windows", "0.5,1", "--anchors", "both")
    train("ames", *how, "--out", out, "--start", "matching")
    student = tmp_path / "student.pt"
    train("ames", *how, "--out", student, "--binary", "--teacher", out, "--start-from", out)
    assert load_ames(student).config.binarized
    with pytest.raises(SettingError, match="other data or settings"):
        train("ames", *how, "--out", student, "--seed", "1")
    saved = torch.load(student, weights_only=True)
    assert list(saved)[:3] == ["state", "optim", "epoch"]


def test_elvis_on_two_data_sets_validated_on_one(tmp_path, dataset, weights):
    encoder = (*ENCODER[:1], weights, *ENCODER[2:])
    out = tmp_path / "elvis.pt"
    words = ("--epochs", "1", "--batch-size", "12", "--validate-on", dataset)
    few = ("--least-descriptors", "4", "--query-descriptors", "9", "--gallery-descriptors", "9")
    shown = train(
        "elvis", dataset, dataset, *encoder, *words, *few, "--cache", tmp_path, "--out", out
    )
    assert "1 of 1 epochs" in shown and "mAP fused" in shown
    assert load_elvis(out).config.local_dim == load_elvis(out).local_dim


def test_wrong_calls_are_refused(tmp_path, dataset):
    from patchrerank.cli import train as module

    where = ("--cache", tmp_path / "c", "--out", tmp_path / "x.pt", *ENCODER, "--random-weights")
    with pytest.raises(AssertionError, match="'amis' is not one of 'ames', 'elvis'"):
        train("amis", dataset, *where)
    with pytest.raises(SettingError, match="smallest,largest"):
        train("ames", dataset, *where, "--windows", "half")
    with pytest.raises(SettingError, match="at least one data set"):
        train("ames", *where)
    with pytest.raises(SettingError, match="go together"):
        train("ames", *where, "--cut-from", tmp_path)
    with pytest.raises(SettingError, match="heads do not divide"):
        train("ames", dataset, *where, "--model-dim", "15")
    with pytest.raises(DatasetError):
        train("ames", tmp_path / "nothing", *where)
    with pytest.raises(SettingError, match="only AMES can be distilled"):
        train("elvis", dataset, *where, "--teacher", tmp_path / "t.pt", "--binary")
    assert module.command.__doc__ and not (tmp_path / "x.pt").exists()
