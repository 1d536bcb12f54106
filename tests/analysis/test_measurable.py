"""No number without its n, none without its doubts, and none of what was not asked for."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from command_line import run
from loaded_once import encoders_loaded_once
from miniatures import patch
from patchrerank.analysis import EvaluationSettings, Method, evaluate, evaluate_methods
from patchrerank.analysis.exhaustive import evaluate_exhaustive
from patchrerank.datasets import load_dataset
from patchrerank.errors import DatasetError
from patchrerank.gallery import BuildOptions
from patchrerank.regions import GridPyramid
from patchrerank.report.findings import find
from small_datasets import write_dataset

QUIET = BuildOptions(progress=False, backgrounds=4)
TINY = ["--encoder", "timm:test_resnet", "--random-weights", "--quiet"]
TINY += ["--image-size", 32, "--regions", "grid:1"]
BOX = [0.1, 0.1, 0.6, 0.6]


def write(root: Path, queries, images) -> Path:
    """Write a data set of ``(id, seed of the picture, instance, box)``."""
    told = [
        [
            {"id": name, "picture": patch(seed).resize((64, 64)), "instance": of, "box": box}
            for name, seed, of, box in entries
        ]
        for entries in (queries, images)
    ]
    return write_dataset(root, *told)


@pytest.fixture(autouse=True)
def shared_encoders():
    with encoders_loaded_once():
        yield


QUERIES = [("q0", 1, 0, None), ("q7", 2, 99, None)]
IMAGES = [("d0", 3, 0, BOX), ("d1", 4, None, None)]
COPIES = [("p", 9, 0, None), *((f"d{n}", 9, None, None) for n in range(4))]


def everyone(data, encoder, cache, crop=None):
    """Everything that measures."""
    settings = EvaluationSettings(GridPyramid(1), query_crop=crop, build=QUIET)
    return {
        "evaluate": lambda: evaluate(data, encoder, settings, cache).measured,
        "compare": lambda: (
            evaluate_methods(data, encoder, ["patchify"], settings, cache, one_by_one=True)[
                0
            ].measured
        ),
        "report": lambda: (
            find(data, encoder, [Method("patchify")], cache, settings).runs["patchify"].measured
        ),
    }


def test_the_n_of_every_mean_is_recorded(tmp_path, tiny_encoder):
    data = load_dataset(write(tmp_path / "d", QUERIES, IMAGES))
    for measure in everyone(data, tiny_encoder, tmp_path / "c").values():
        record = measure().as_dict()
        assert record["queries"] == 2
        assert record["counted"] == {"all": 1, "<10%": 0, "10-25%": 0, "25-70%": 1}
    found = evaluate_exhaustive(
        data, tiny_encoder, GridPyramid(1), tmp_path / "c", ["Flat"], build=QUIET
    )
    assert (found[0].queries, found[0].counted) == (2, 1)


def test_the_n_is_printed_beside_the_mean(tmp_path):
    folder = write(tmp_path / "d", QUERIES, IMAGES)
    for command in (["evaluate"], ["compare", "--stages", "patchify"], ["report"]):
        words = [command[0], folder, *command[1:], *TINY, "--cache", tmp_path / "c"]
        extra = ["--out", tmp_path / "r.html"] if command == ["report"] else []
        said = run(*words, *extra).stdout.replace("\n", " ")
        assert "1 of 2 queries has a positive" in said
    assert "1 of 2 queries has a positive" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("queries", "images", "why"),
    [
        ([], IMAGES, "no queries"),
        (QUERIES, [], "no images"),
        (QUERIES[1:], IMAGES, "none of the 1 queries has a positive"),
    ],
)
def test_nothing_to_measure_is_an_error(tmp_path, tiny_encoder, queries, images, why):
    folder = write(tmp_path / "d", queries, images)
    data = load_dataset(folder)
    for measure in everyone(data, tiny_encoder, tmp_path / "c").values():
        with pytest.raises(DatasetError, match=why):
            measure()
    assert not (tmp_path / "c").exists(), "said before anything was built"
    if not queries:
        assert why in run("tune", "--dataset", folder, "--stages", "patchify", code=2).stderr
        assert why in run("exhaustive", folder, *TINY, code=2).stderr


def test_crops_to_boxes_that_no_query_has_are_refused(tmp_path, tiny_encoder):
    folder = write(tmp_path / "d", QUERIES, IMAGES)
    data = load_dataset(folder)
    for measure in everyone(data, tiny_encoder, tmp_path / "c", "box").values():
        with pytest.raises(DatasetError, match=r"no query has a box.*--query-crop none"):
            measure()
    assert (
        "no query has a box"
        in run("evaluate", folder, "--query-crop", "box", "--json", *TINY, code=2).stderr
    )


def test_queries_that_lack_a_box_are_counted_and_said(tmp_path, tiny_encoder, caplog):
    boxed = ("q1", 5, 0, BOX)
    data = load_dataset(write(tmp_path / "d", [QUERIES[0], boxed], IMAGES))
    for measure in everyone(data, tiny_encoder, tmp_path / "c", "box").values():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = measure()
        assert "1 of 2 queries have no box" in caplog.text
        assert found.settings["query_crop"] == "box"
        assert found.settings["queries_without_box"] == "1"


def test_ties_that_straddle_are_said_with_the_range(tmp_path, tiny_encoder):
    values = []
    for name, images in (("a", COPIES), ("b", COPIES[::-1])):
        folder = write(tmp_path / name, [("q", 1, 0, None)], images)
        data = load_dataset(folder)
        for measure in everyone(data, tiny_encoder, tmp_path / "c").values():
            found = measure()
            assert found.ties.queries == 1
            assert (found.ties.lowest_mAP, found.ties.highest_mAP) == (20.0, 100.0)
        values.append(found.metrics["mAP"])
    assert values == [100.0, 20.0], "the order of the file decides"
    said = run("evaluate", folder, *TINY, "--cache", tmp_path / "c").stdout.replace("\n", " ")
    assert "1 query has relevant and irrelevant candidates that tie" in said
    assert "between 20.0 and 100.0" in said
    record = json.loads(run("evaluate", folder, "--json", *TINY).stdout)
    assert record["ties"] == {"queries": 1, "lowest_mAP": 20.0, "highest_mAP": 100.0}


def test_without_ties_nothing_is_said(tmp_path, tiny_encoder):
    data = load_dataset(write(tmp_path / "d", QUERIES, IMAGES))
    found = everyone(data, tiny_encoder, tmp_path / "c")["evaluate"]()
    assert found.ties.queries == 0 and str(found.ties) == ""
    assert found.ties.lowest_mAP == found.ties.highest_mAP == found.metrics["mAP"]
