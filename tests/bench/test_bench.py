from __future__ import annotations

import math

import numpy as np
import pytest

from patchrerank.bench import JOBS, Contestant, Job, Sizes, run_bench
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
