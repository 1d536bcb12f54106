from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from patchrerank.bench import JOBS, Contestant, Job, Sizes, engines, run_bench
from patchrerank.bench.rounds import compete, require
from patchrerank.errors import PatchRerankError, SettingError

TINY = Sizes(
    candidates=4, patches=3, dim=16, parts=4, queries=3, descriptors=5, store_mib=1, rounds=2
)


@pytest.mark.parametrize("job", JOBS)
def test_every_job_runs_and_its_contestants_agree(job):
    rows = list(run_bench([job], TINY))
    assert len(rows) > 1
    assert rows[0].ratio == 1.0
    for row in rows:
        assert row.note or row.median_ms > 0


def test_an_absent_contestant_is_reported():
    def absent(data):
        require("no_such_package")

    rows = compete(
        Job("job", [Contestant("we", lambda _: 1.0), Contestant("they", absent)], int), 3
    )
    assert [row.contestant for row in rows] == ["we", "they"]
    assert math.isnan(rows[1].median_ms)
    assert rows[1].note == "no_such_package is not installed"


def test_contestants_that_disagree_are_not_timed():
    contestants = [
        Contestant("we", lambda _: np.ones(3)),
        Contestant("they", lambda _: np.zeros(3)),
    ]
    with pytest.raises(PatchRerankError, match="they and we disagree"):
        compete(Job("job", contestants, int), 3)


def test_bad_sizes_and_jobs_are_named():
    with pytest.raises(SettingError, match="rounds must be at least 1"):
        Sizes(rounds=0)
    with pytest.raises(SettingError, match="does not divide"):
        Sizes(dim=10, parts=4)
    with pytest.raises(SettingError, match=r"'flaot32' is unknown.*did you mean float32"):
        list(run_bench(["flaot32"]))
    with pytest.raises(SettingError, match="raise store_mib"):
        list(run_bench(["float32"], Sizes(store_mib=1)))


class InMemory:
    """Stands in for Qdrant's client: points by number, exact MaxSim over those that are asked."""

    def __init__(self, place):
        self.points = {}

    def create_collection(self, name, vectors_config):
        self.size = vectors_config.size

    def upsert(self, name, points):
        for point in points:
            assert point.id not in self.points
            self.points[point.id] = np.float32(point.vector).reshape(-1, self.size)

    def query_points(self, name, query, query_filter, limit):
        asked = query_filter.must[0].has_id
        best = {row: (self.points[row] @ np.float32(query).T).max() for row in asked}
        found = sorted(best, key=best.get, reverse=True)[:limit]
        return SimpleNamespace(points=[SimpleNamespace(id=row, score=best[row]) for row in found])


def test_an_engine_is_given_each_image_under_its_row(monkeypatch):
    kinds = ("MultiVectorConfig", "VectorParams", "PointStruct", "Filter", "HasIdCondition")
    models = SimpleNamespace(
        MultiVectorComparator=SimpleNamespace(MAX_SIM="max_sim"),
        Distance=SimpleNamespace(DOT="dot"),
        **dict.fromkeys(kinds, SimpleNamespace),
    )
    client = SimpleNamespace(models=models, QdrantClient=InMemory)
    monkeypatch.setattr(engines, "require", {"qdrant_client": client}.__getitem__)
    own, qdrant, _ = engines.engines(TINY).contestants
    rows = np.array([700, 0, 255, 256, 257, 5000])  # points are sent 256 at a time
    np.testing.assert_allclose(qdrant.run(rows), own.run(rows), atol=1e-5)
