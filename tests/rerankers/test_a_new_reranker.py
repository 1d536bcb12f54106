"""A new method is one class: registered here, it goes through every command that takes stages."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from command_line import run
from loaded_once import encoders_loaded_once
from patchrerank.datasets.composite import CompositeConfig, build_composite
from patchrerank.errors import SettingError
from patchrerank.gallery import Gallery
from patchrerank.pipeline import make_cascade
from patchrerank.rerankers import RERANKERS, Reranker, find_reranker, registry
from patchrerank.types import LocalScores

MODEL = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "32"]


class Toy(Reranker):
    """The cosine of the global vectors; the left half is the box."""

    name = "toy"
    reads = frozenset({"globals"})

    def score(self, queries, shortlist):
        self.gallery.check_queries(queries)
        vectors = self.gallery.global_vectors[np.maximum(shortlist.rows, 0)]
        cosines = np.einsum("qkd,qd->qk", vectors, queries.vectors)
        scores = np.where(shortlist.rows >= 0, cosines, -np.inf).astype(np.float32)
        half = np.float32([0, 0, 0.5, 1])
        return LocalScores(scores, np.broadcast_to(half, (*scores.shape, 4)).copy())


@pytest.fixture(scope="module", autouse=True)
def shared_encoders():
    with encoders_loaded_once():
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, photo_folder):
    root = tmp_path_factory.mktemp("toy")
    config = CompositeConfig(seed=0, positives=2, distractors=6, max_instances=4, long_side=96)
    build_composite(config, None, photo_folder, root / "data", photo_folder, False)
    return root / "data"


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(RERANKERS, Toy.name, Toy)


def test_it_is_searched_compared_tuned_and_reported_by_its_name(toy, dataset, tmp_path):
    cache = ["--cache", tmp_path / "cache", "--quiet"]
    rows = json.loads(
        run(
            *("compare", dataset, *MODEL, "--regions", "grid:1", *cache, "--json"),
            *("--stages", "toy", "--stages", "patchify,toy:5:0.5:1"),
        ).stdout
    )
    folder = next((tmp_path / "cache").glob("*/manifest.json")).parent
    made = Gallery(folder)
    size = 4.0 * made.dim
    assert [row["bytes_per_image"] for row in rows] == [size, size * 6]
    assert all(row["ms_per_query"] > 0 and row["localises"] for row in rows)

    query = next((dataset / "queries").iterdir())
    hits = json.loads(run("search", folder, query, "--stages", "toy:4:0:1", "--json").stdout)
    assert all(hit["box"] == [0, 0, 0.5, 1] for hit in hits["hits"][:4])

    study, tuned = tmp_path / "study.toml", tmp_path / "tuned.json"
    study.write_text(
        'stages = "toy"\ntrials = 10\nfolds = 2\n[scores]\n'
        'encoder = "timm:test_resnet"\nimage_size = 32\nregions = "grid:1"\n'
    )
    run("tune", study, "--dataset", dataset, "--random-weights", *cache, "--out", tuned)
    assert json.loads(tuned.read_text())["stages"][0]["reranker"] == "toy"
    assert run("search", folder, query, "--tuned", tuned).stdout

    page = tmp_path / "report.html"
    words = ["--stages", "global", "--stages", "toy", "--out", page]
    record = json.loads(
        run("report", dataset, *MODEL, "--regions", "grid:1", *words, *cache, "--json").stdout
    )
    assert record["methods"]["toy"]["bytes_per_image"] == size


def test_another_package_can_announce_one(tiny_gallery, monkeypatch):
    entries = [
        EntryPoint("announced", f"{Toy.__module__}:Toy", registry.ENTRY_POINTS),
        EntryPoint("broken", "no_such_package_anywhere:Toy", registry.ENTRY_POINTS),
        EntryPoint("other", "json:dumps", registry.ENTRY_POINTS),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    monkeypatch.setattr(EntryPoint, "load", _load(Toy))
    cascade = make_cascade("announced:3:0.5:1,patchify:2", tiny_gallery)
    assert isinstance(cascade.stages[0].reranker, Toy)
    with pytest.raises(SettingError, match=r"'broken' of no_such_package_anywhere.*No module"):
        make_cascade("broken", tiny_gallery)
    with pytest.raises(SettingError, match="json:dumps is no Reranker class"):
        make_cascade("other", tiny_gallery)
    with pytest.raises(SettingError, match="did you mean announced"):
        find_reranker("announce")


def _load(kind):
    """Load entry points as always, but for this test module, which is no package's."""
    real = EntryPoint.load
    return lambda entry: kind if entry.value.endswith(f"{kind.__module__}:Toy") else real(entry)
