from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from patchrerank.errors import SettingError
from patchrerank.pipeline import StageSpec
from patchrerank.tuning import evaluate_stages
from patchrerank.tuning.doubts import doubts_about, neighbours
from patchrerank.tuning.held_out import measure_held_out
from patchrerank.tuning.result_record import result_record, write_record
from patchrerank.tuning.trials.exact_search import search_exactly
from patchrerank.tuning.trials.grid_space import grid_values
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.search_options import Budget, TuneOptions
from patchrerank.tuning.tuning_run import RunSettings, run_tuning
from signal_tables import signal_table

TABLE = signal_table(names=("a",))
QUIET = TuneOptions(progress=False)


def exactly(table):
    return search_exactly(table).stages


def test_a_query_is_measured_by_stages_that_have_not_seen_its_object():
    seen = []

    def spy(table):
        seen.append(set(table.query_ids))
        return exactly(table)

    found = measure_held_out(TABLE, spy, ("a",), folds=4)
    for number in range(4):
        unseen = np.flatnonzero(found.fold == number)
        assert not seen[number] & {TABLE.query_ids[n] for n in unseen}
        objects = set(TABLE.groups[unseen])
        assert not objects & set(TABLE.groups[found.fold != number])
        own = evaluate_stages(TABLE.take(unseen), found.stages[number]).AP
        assert np.array_equal(found.values[unseen], own)
    assert found.folds == 4
    assert found.estimate.value == pytest.approx(found.values.mean())
    assert found.over_first.mean == pytest.approx((found.values - found.first).mean())
    assert found.estimate.low < found.estimate.value < found.estimate.high


def test_the_grid_is_chosen_on_the_same_folds():
    found = measure_held_out(TABLE, exactly, ("a",), folds=3)
    grid = grid_values(TABLE, ("a",))
    for number in range(3):
        seen = found.fold != number
        best = grid.values[:, seen].mean(axis=1).argmax()
        assert np.array_equal(found.grid[~seen], grid.values[best, ~seen])


def test_queries_without_positives_are_left_out():
    none = np.zeros_like(TABLE.relevant)
    none[3:] = TABLE.relevant[3:]
    table = replace(
        TABLE, relevant=none, n_positives=none.sum(axis=1), positive_areas=TABLE.areas * np.nan
    )
    found = measure_held_out(table, exactly, ("a",), folds=3)
    assert np.isnan(found.values[:3]).all()
    assert (found.fold[:3] == -1).all()
    assert np.isfinite(found.values[3:]).all()


def test_noise_is_not_significant_and_says_so():
    noise = signal_table(5, names=("a",), queries=16)
    rng = np.random.default_rng(1)
    noise = replace(noise, local_scores={"a": rng.standard_normal(noise.rows.shape)})
    found = run_tuning(noise, RunSettings(exact=True, options=QUIET))
    assert any("not significant" in text for text in found.warnings)
    assert found.value >= found.first.mean()


def test_a_clear_gain_is_no_doubt():
    found = run_tuning(TABLE, RunSettings(budget=Budget(30), options=QUIET))
    assert not any("significant" in text for text in found.warnings)
    assert found.held_out.over_first.low > 0
    assert found.value == pytest.approx(found.values.mean())
    assert found.values.mean() >= found.grid.mean() > found.first.mean()


def test_nothing_held_out_is_a_doubt():
    found = run_tuning(TABLE, RunSettings(folds=0, exact=True))
    assert found.held_out is None
    assert "no queries were held out" in found.warnings[0]


def needle_table():
    """Around λ = 0.5 the positive is first; soon others are, with more of one score."""
    queries, slots = 12, 12
    table = signal_table(names=("a",), queries=queries, slots=slots)
    relevant = np.zeros((queries, slots), bool)
    relevant[:, 5] = True
    scores = np.array([1.0] * 5 + [0.5] + [0.0] * 6)
    local = np.array([-6.0] * 5 + [0.04] + [6.0] * 6)
    return replace(
        table,
        global_scores=np.tile(scores, (queries, 1)),
        local_scores={"a": np.tile(local, (queries, 1))},
        relevant=relevant,
        n_positives=np.ones(queries, int),
        areas=np.where(relevant, 0.1, np.nan),
        positive_areas=np.full((queries, 1), 0.1),
    )


def test_a_needle_is_found_out():
    table = needle_table()
    stages = (StageSpec("a", 0.5, 1.0, 12),)
    assert evaluate_stages(table, stages).mAP == 100
    found = doubts_about(table, stages, search_space(table))
    assert any("needle" in text and "λ" in text for text in found)
    broad = doubts_about(TABLE, exactly(TABLE), search_space(TABLE))
    assert not any("needle" in text for text in broad)


def test_neighbours_are_all_possible():
    table = signal_table()
    stages = (StageSpec("a", 0.0, 1.0, None), StageSpec("b", 0.99, 1.0, 1))
    moved = list(neighbours(table, stages))
    assert {label for label, _ in moved} >= {"λ of a", "k of a", "λ of b", "γ of b"}
    for _, near in moved:
        assert near != stages
        evaluate_stages(table, near)


def test_borders_are_doubts():
    stages = (StageSpec("a", 0.0, 1.0, TABLE.size),)
    found = "; ".join(doubts_about(TABLE, stages, search_space(TABLE)))
    assert "λ lies on its lower border 0" in found
    assert "shortlist size lies on its upper border 40" in found


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (lambda: RunSettings(("a", "b"), exact=True), "one stage"),
        (lambda: RunSettings(objective="ms", exact=True), "mAP or LocScore"),
        (lambda: RunSettings(objective=["mAP", "ms"], exact=True), "one goal"),
        (lambda: RunSettings(folds=1), "folds"),
        (lambda: RunSettings(exact=True, options=TuneOptions(constraints=("ms<=1",))), "constr"),
    ],
)
def test_impossible_runs_are_refused(settings, why):
    with pytest.raises(SettingError, match=why):
        settings()


def test_no_trial_within_the_constraints():
    options = replace(QUIET, constraints=("mAP>=1.01",))
    with pytest.raises(SettingError, match="none of 8 trials kept all constraints"):
        run_tuning(TABLE, RunSettings(budget=Budget(8), options=options, folds=0))


def test_the_record_is_json(tmp_path):
    import json

    table = signal_table(queries=16)
    settings = RunSettings(("a", "b"), ["mAP", "ms"], Budget(15), QUIET, folds=2)
    found = run_tuning(table, settings)
    write_record(result_record(found, table), tmp_path / "r.json")
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["value"] == found.value
    assert record["held_out"]["over_first_stage"]["mean"] == found.held_out.over_first.mean
    assert len(record["front"]) == len(found.search.front)
