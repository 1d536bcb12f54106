"""From the authors' files to the authors' mAP: AMES and ELViS on a miniature ROxford."""

from __future__ import annotations

import itertools
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learned_twins import torch_threads
from local_twins import FakeGallery
from patchrerank.fusion import fuse
from patchrerank.gallery import import_hdf5, read_hdf5
from patchrerank.metrics import ames_convention, evaluate_revisited, membership, positives_and_junk
from patchrerank.rerankers import (
    AMES,
    AmesConfig,
    AmesSettings,
    ELViS,
    ElvisConfig,
    ElvisSettings,
)
from patchrerank.types import Queries, Shortlist

REFERENCE = Path(__file__).parents[1] / "reference" / "e2e"
MODES = ("medium", "hard")
SHORTLISTS = {"ames": "nn_superglobal.pkl", "elvis": "nn_dinov2.pkl"}
STORES = {"ames": "float32", "elvis": "float16"}
LETTERS = {"easy": "E", "medium": "M", "hard": "H"}


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


@dataclass
class Case:
    """One method's files, and what the official program made of them."""

    reranker: Any
    queries: Queries
    rows: np.ndarray
    sims: np.ndarray
    truths: list[dict[str, list[int]]]
    expected: dict[str, Any]
    recorded: dict[str, np.ndarray]

    def junk_last(self, mode):
        """Stably partition each shortlist into the rest and junk."""
        _, junk_rows = positives_and_junk(self.truths, mode)
        order = np.argsort(membership(self.rows, junk_rows), axis=1, kind="stable")
        return tuple(np.take_along_axis(part, order, axis=1) for part in (self.rows, self.sims))

    def scores(self, rows):
        """Raw scores of rows in any order; a shortlist is best first, so ranks stand for scores."""
        ranks = np.tile(np.linspace(1, 0, rows.shape[1], dtype=np.float32), (len(rows), 1))
        return self.reranker.score(self.queries, Shortlist(rows, ranks)).scores

    def rankings(self, mode):
        """Yield (our ranking, recorded ranking, recorded metrics) for each combination."""
        rows, sims = self.junk_last(mode)
        raw = self.scores(rows)
        grid = itertools.product(*(self.expected[key] for key in ("num_rerank", "lamb", "temp")))
        results = [result for result in self.expected["results"] if result["mode"] == mode]
        for (k, lam, gamma), ranks, result in zip(
            grid, self.recorded[f"{mode}_ranks"], results, strict=True
        ):
            fused = fuse(sims[:, :k], raw[:, :k], lam, gamma).astype(np.float32)
            order = np.argsort(-fused, axis=1, kind="stable")
            head = np.take_along_axis(rows[:, :k], order, axis=1)
            yield np.concatenate([head, rows[:, k:]], axis=1), ranks, result


def load(name, folder):
    files = REFERENCE / name / "data" / "roxford5k"
    expected = json.loads((REFERENCE / name / "expected.json").read_text())
    store = import_hdf5(files / "dinov2_gallery_local.hdf5", folder, store=STORES[name])
    with read_hdf5(files / "dinov2_query_local.hdf5") as images:
        local = list(images)
    sims, rows = pickle.loads((files / SHORTLISTS[name]).read_bytes()).numpy()
    truths = pickle.loads((files / "gnd_roxford5k.pkl").read_bytes())["gnd"]
    with np.load(REFERENCE / name / "expected.npz") as data:
        recorded = {key: data[key] for key in data.files}
    queries = Queries(np.zeros((len(local), 2), np.float32), local=local)
    reranker = make(name, FakeGallery(store), expected)
    return Case(reranker, queries, rows.astype(np.int64), sims, truths, expected, recorded)


def make(name, gallery, expected):
    model, file = expected["model"], REFERENCE / name / "checkpoint.pt"
    counts = expected["query_descriptors"], expected["database_descriptors"]
    if name == "ames":
        reranker = AMES(gallery, checkpoint=file, settings=AmesSettings(*counts))
        assert reranker.network.config == AmesConfig(
            model["local_dim"],
            model["model_dim"],
            model["nhead"],
            model["num_encoder_layers"],
            model["dim_feedforward"],
        )
        return reranker
    reranker = ELViS(gallery, checkpoint=file, settings=ElvisSettings(*counts))
    assert reranker.network.config == ElvisConfig(model["local_dim"])
    return reranker


@pytest.fixture(scope="module", params=["ames", "elvis"])
def case(request, tmp_path_factory):
    return load(request.param, tmp_path_factory.mktemp(request.param) / "local")


@pytest.mark.parametrize("mode", MODES)
def test_raw_scores(case, mode):
    rows, _ = case.junk_last(mode)
    expected = case.recorded[f"{mode}_raw"]
    tolerance = {"atol": 1e-4} if case.reranker.name == "ames" else {"rtol": 1e-5}
    np.testing.assert_allclose(case.scores(rows), expected, **{"atol": 0, "rtol": 0} | tolerance)


@pytest.mark.parametrize("mode", MODES)
def test_rankings_and_map(case, mode):
    for ours, recorded, expected in case.rankings(mode):
        np.testing.assert_array_equal(ours, recorded)
        for protocol, letter in LETTERS.items():
            check = check_ames if case.reranker.name == "ames" else check_elvis
            check(
                evaluate_revisited(ours, case.truths, protocol, ames_convention()), letter, expected
            )


def check_ames(result, letter, expected):
    np.testing.assert_allclose(
        result.average_precisions, expected[f"aps{letter}"], rtol=0, atol=1e-12
    )
    assert round(100 * result.mean_average_precision, 3) == expected[f"{letter}_map"]


def check_elvis(result, letter, expected):
    if f"{letter}_map" not in expected:
        return
    np.testing.assert_allclose(
        result.average_precisions, expected[f"{letter}_aps"], rtol=0, atol=1e-12
    )
    assert result.mean_average_precision == pytest.approx(expected[f"{letter}_map"], abs=1e-12)


def test_padding_counts_in_elvis(tmp_path):
    """With each image as long as it is, other scores come out: the published ones need slots."""
    case = load("elvis", tmp_path / "local")
    trimmed = ELViS(
        case.reranker.gallery,
        network=case.reranker.network,
        settings=ElvisSettings(12, 7, padding="none"),
    )
    rows, _ = case.junk_last("medium")
    expected, case.reranker = case.recorded["medium_raw"], trimmed
    apart = np.abs(case.scores(rows) - expected) / expected
    assert 1e-3 < apart.max() < 0.2
