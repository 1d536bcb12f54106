"""The tuning baselines are what they are named after."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from patchrerank.tuning import save_table
from prepared import python
from synthetic import random_table

BASELINES = Path(__file__).parents[2] / "baselines"


def make_table():
    table = random_table(seed=3, queries=20, slots=40, names=("a",), holes=False)
    areas = np.full_like(table.positive_areas, np.nan)
    return replace(table, n_positives=table.relevant.sum(axis=1), positive_areas=areas)


@pytest.fixture
def weighted_sum(monkeypatch):
    monkeypatch.syspath_prepend(str(BASELINES))
    import ranx_weighted_sum

    return ranx_weighted_sum


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ranx") is None, reason="ranx is not installed")
def test_the_weighted_sum_is_ranx_s(weighted_sum):
    from ranx import Qrels, Run, evaluate, fuse, optimize_fusion

    table = make_table()
    local = table.local_scores[table.reranker()]
    names = [str(query) for query in range(len(table))]

    def run(scores):
        rows = zip(names, table.rows, scores, strict=True)
        return Run(
            {n: {str(r): float(v) for r, v in zip(row, s, strict=True)} for n, row, s in rows}
        )

    lists = zip(names, table.rows, table.relevant, strict=True)
    qrels = Qrels({n: {str(r): 1 for r in row[good]} for n, row, good in lists})
    runs = [run(table.global_scores), run(local)]
    best = optimize_fusion(qrels, runs, norm="min-max", method="wsum", metric="map")
    fitted, settings, _ = weighted_sum.fit(table, 0)
    assert settings["weight"] == pytest.approx(best["weights"][0])
    fused = fuse(runs, norm="min-max", method="wsum", params=best)
    assert np.nanmean(fitted(table)) == pytest.approx(evaluate(qrels, fused, "map"), abs=1e-9)


def test_a_baseline_as_a_script(tmp_path):
    save_table(make_table(), tmp_path / "table")
    script = BASELINES / "ranx_weighted_sum.py"
    run = python(script, tmp_path / "table", "--out", tmp_path / "r.json")
    assert run.returncode == 0, run.stderr
    assert '"mAP held out"' in (tmp_path / "r.json").read_text()
