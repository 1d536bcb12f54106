"""``patchrerank convert``, and other people's layouts under the other commands."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import miniatures
from command_line import run_process
from patchrerank.analysis import EvaluationSettings, evaluate
from patchrerank.cli.main import app
from patchrerank.datasets import load_dataset, read_ilias_ids
from patchrerank.datasets.ilias_export import write_dataset_features
from patchrerank.datasets.ilias_features import read_database, read_features
from patchrerank.datasets.ilias_similarities import (
    read_similarities,
    similarities_of,
    write_similarities,
)
from patchrerank.encoders import load_encoder
from patchrerank.errors import PatchRerankError
from patchrerank.gallery import BuildOptions, encode_queries
from patchrerank.metrics import evaluate_ilias
from patchrerank.regions import GridPyramid

ENCODER = ("--encoder", "timm:test_resnet", "--image-size", "64")
QUIET = BuildOptions(progress=False, backgrounds=4)


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    root = tmp_path_factory.mktemp("layouts")
    return {
        name: getattr(miniatures, name)(root / name) for name in ("ilias", "instre", "revisited")
    }


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint of random weights, so that every call has the same ones."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return f"timm:test_resnet/{path}"


def run(*words):
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)
    if isinstance(done.exception, PatchRerankError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_convert_and_back(trees, tmp_path):
    record = run("convert", trees["ilias"], tmp_path / "ours", "--json")
    assert (record["queries"], record["images"]) == (4, 10)
    assert (record["AP"], record["query_crop"]) == ("ilias@1000", "box")
    back = run("convert", tmp_path / "ours", tmp_path / "ilias", "--to", "ilias", "--json")
    assert back["layout"] == "ilias"
    assert read_ilias_ids(tmp_path / "ilias") == read_ilias_ids(trees["ilias"])
    hard = run(
        "convert", f"{trees['revisited']}:setup=hard", tmp_path / "hard",
        "--pictures", "copy", "--layout", "revisited", "--json",
    )  # fmt: skip
    assert hard["name"] == "roxford5k (hard)"
    assert load_dataset(tmp_path / "hard").junk[0].tolist() == [0, 3, 5, 9]
    text = CliRunner().invoke(app, ["convert", str(trees["instre"]), str(tmp_path / "i")]).stdout
    assert "queries: 4, images: 5" in text.replace("\n", " ")


def test_errors_are_one_line_and_exit_code_2(trees, tmp_path):
    words = ["convert", trees["revisited"], tmp_path / "x", "--to", "ilias", "--clutter", "0"]
    done = run_process(*words, code=2)
    assert "ILIAS' layout has no place for that" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ilias_from_images_to_map(trees, weights, tmp_path):
    """The command's mAP@1k is that of the files that ILIAS' own evaluator reads."""
    tree, regions = trees["ilias"], GridPyramid(1)
    record = run(
        "evaluate", tree, "--encoder", weights, "--image-size", 64, "--regions", "grid:1",
        "--query-crop", "box", "--cache", tmp_path / "cache", "--json", "--quiet",
    )  # fmt: skip
    assert record["settings"]["AP"] == "ilias@1000"
    data, encoder = load_dataset(tree), load_encoder(weights, image_size=64, device="cpu")
    settings = EvaluationSettings(regions, query_crop="box", build=QUIET)
    done = evaluate(data, encoder, settings, tmp_path / "cache")
    assert done.measured.milliseconds["index_per_image"] is None, "the command's own gallery"
    ids = [query.id for query in data.queries]
    for suffix in ("json", "pkl"):
        path = tmp_path / f"similarities.{suffix}"
        write_similarities(path, similarities_of(ids, done.gallery.ids, done.ranking))
        result = evaluate_ilias(read_similarities(path), read_ilias_ids(tree).by_instance)
        ours = 100 * result.mean_average_precision
        assert ours == pytest.approx(record["metrics"]["mAP"], abs=1e-9)
        assert 0 < ours < 100


def test_ilias_features_in_the_published_layout(trees, weights, tmp_path):
    data, encoder = load_dataset(trees["ilias"]), load_encoder(weights, image_size=64, device="cpu")
    done = evaluate(data, encoder, EvaluationSettings(GridPyramid(0), build=QUIET), tmp_path / "c")
    files, boxes = [q.file for q in data.queries], [q.box for q in data.queries]
    queries = encode_queries(encoder, files, boxes=boxes, crop="box")
    write_dataset_features(tmp_path / "features", data, done.gallery, queries)
    database = read_database(tmp_path / "features")
    assert database.ids == tuple(image.id for image in data.images)
    vectors = done.gallery.global_vectors[done.gallery.rows_of(database.ids)]
    assert np.allclose(database.vectors, vectors, atol=1e-3), "float16"
    asked = read_features(tmp_path / "features/features_image_queries.hdf5")
    assert asked.ids == read_ilias_ids(trees["ilias"]).queries
    assert np.allclose(asked.vectors, queries.vectors, atol=1e-3)
    mini = read_database(tmp_path / "features", selected=["12", "22"])
    assert mini.ids[5:] == ("000/12", "001/22")


def test_the_other_layouts_evaluate_unchanged(trees, weights, tmp_path):
    words = ["--encoder", weights, "--image-size", 64, "--regions", "grid:0", "--json", "--quiet"]
    words += ["--backend", "eager"]
    cache = ["--cache", tmp_path]
    instre = run("evaluate", trees["instre"], *words, *cache)
    assert instre["settings"]["AP"] == "full"
    values = {}
    for setup in ("easy", "medium", "hard"):
        record = run("evaluate", f"{trees['revisited']}:setup={setup}", *words, *cache)
        assert record["settings"]["AP"] == "revisited"
        values[setup] = record["metrics"]["mAP"]
        built = record["milliseconds"]["index_per_image"]
        assert (built is None) == (setup != "easy"), "one gallery serves all set-ups"
    assert len(set(values.values())) == 3
