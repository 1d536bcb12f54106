from __future__ import annotations

import numpy as np
import pytest

from patchrerank.errors import TableError
from patchrerank.fusion import Fusion
from patchrerank.metrics import average_precisions
from patchrerank.pipeline import StageSpec
from patchrerank.tuning import evaluate_stages
from patchrerank.tuning.tables.derived import after_stages, ranked_by
from patchrerank.tuning.write_tuned import behind, whole_cascade
from signal_tables import signal_table
from synthetic import one_stage, random_table


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("coarse", [False, True])
def test_stages_behind_a_derived_table_are_the_cascade(seed, coarse):
    table = random_table(seed, coarse=coarse)
    first = StageSpec("a", 0.3, 2.0, 9)
    derived = after_stages(table, [first])
    for fusion in (Fusion(0.0, 1.0, 6), Fusion(0.6, 3.0, 9), Fusion(1.0, 1.0, 4)):
        whole = evaluate_stages(table, [first, StageSpec.of("b", fusion)])
        own = evaluate_stages(derived, [StageSpec.of("b", fusion)])
        assert np.array_equal(own.AP, whole.AP, equal_nan=True)
    assert np.array_equal(
        evaluate_stages(derived, []).AP, evaluate_stages(table, [first]).AP, equal_nan=True
    )


def test_two_stages_before():
    table = random_table(3, names=("a", "b", "c"))
    before = [StageSpec("a", 0.3, 2.0, None), StageSpec("b", 0.5, 1.0, 8)]
    last = StageSpec("c", 0.4, 1.5, 5)
    own = evaluate_stages(after_stages(table, before), [last])
    whole = evaluate_stages(table, [*before, last])
    assert np.array_equal(own.AP, whole.AP, equal_nan=True)


def test_no_stages_change_nothing():
    table = random_table(1)
    assert after_stages(table, []) is table
    assert after_stages(table, [StageSpec("a", 0.5, 1.0, 0)]) is table


def test_ranked_by_a_reranker():
    table = signal_table()
    derived = ranked_by(table, "a")
    for query in range(len(table)):
        order = np.argsort(-table.local_scores["a"][query], kind="stable")
        assert np.array_equal(derived.rows[query], table.rows[query, order])
        local = {name: scores[query, order] for name, scores in table.local_scores.items()}
        assert np.array_equal(derived.global_scores[query], local["a"])
        assert np.array_equal(derived.local_scores["b"][query], local["b"])
    assert evaluate_stages(derived, []).mAP == pytest.approx(one_stage(table, 0, 1, None, "a").mAP)


@pytest.mark.parametrize("seed", range(4))
def test_ranked_by_with_holes_and_missing_evidence(seed):
    table = random_table(seed)
    derived = ranked_by(table, "a")
    assert not (derived.relevant & ~derived.valid).any()
    assert np.array_equal(derived.relevant.sum(axis=1), table.relevant.sum(axis=1))
    precisions = average_precisions(
        derived.relevant,
        n_positives=derived.n_positives,
        junk=derived.junk,
        valid=derived.valid,
    )
    assert np.array_equal(evaluate_stages(derived, []).AP, precisions, equal_nan=True)


def test_rerankers_that_look_at_the_list_are_left_out():
    from dataclasses import replace

    table = replace(signal_table(), list_depths={"b": 5})
    derived = after_stages(table, [StageSpec("a", 0.5, 1.0, None)])
    assert list(derived.local_scores) == ["a"]
    assert set(derived.overlaps) == {"a", "global"}


def test_unscored_candidates_cannot_be_ranked():
    from dataclasses import replace

    table = signal_table()
    holes = {**table.local_scores, "a": np.where(table.relevant, np.nan, 1.0)}
    with pytest.raises(TableError, match="no local score"):
        ranked_by(replace(table, local_scores=holes), "a")


@pytest.mark.parametrize("first", ["a", "a:30:0.2:3"])
def test_a_cascade_from_the_global_first_stage_gives_the_same(first):
    table = signal_table(queries=40)
    stages = (StageSpec("b", 0.4, 0.7, 20),)
    own = evaluate_stages(behind(table, first), stages)
    whole = evaluate_stages(table, whole_cascade(table, first, stages))
    tolerance = 1e-12 if ":" in first else 2e-3
    assert own.mAP == pytest.approx(whole.mAP, abs=100 * tolerance)


def test_stages_that_are_off_are_left_out_of_the_cascade():
    table = signal_table()
    off, used = StageSpec("a", 1.0, 1.0, 0), StageSpec("b", 0.0, 1.0, None)
    assert whole_cascade(table, "global", (off, used)) == (used,)
    assert whole_cascade(table, "global", (off,)) == (off,)
