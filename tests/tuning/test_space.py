from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from patchrerank.errors import SettingError, TableError
from patchrerank.pipeline import StageSpec, parse_stages
from patchrerank.pipeline.stages import stages_text
from patchrerank.tuning import evaluate_stages
from patchrerank.tuning.fused.spreads import Spread, lam_of, mix_of, spread_of
from patchrerank.tuning.trials.grid_space import GAMMAS, LAMS, SIZES, GridSpace, grid_values
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.space import OFF
from signal_tables import signal_table
from synthetic import one_stage

TABLE = signal_table()


def fixed(params):
    return optuna.trial.FixedTrial(params)


def drawn(space, seed=0, count=50):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.suggest(study.ask()) for _ in range(count)]


def test_gamma_range_is_linear_below_and_steep_above():
    spread = spread_of(TABLE.local_scores["a"], TABLE.valid)
    low, high = spread.gammas
    x = np.linspace(-spread.reach, spread.reach, 101)
    line = 0.5 + low * x / 4
    assert np.abs(expit(low * x) - line).max() < 0.01 * (line[-1] - line[0])
    assert expit(high * spread.high) - expit(high * spread.low) > 0.9


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_gamma_range_follows_the_scale_of_the_scores(scale):
    one, other = (spread_of(s * TABLE.local_scores["a"], TABLE.valid) for s in (1.0, scale))
    assert np.allclose(np.array(other.gammas) * scale, one.gammas, rtol=0.02)


def test_scores_far_above_zero_do_not_saturate():
    low, high = Spread(0.25, 0.35, 0.6).gammas
    assert high * 0.25 <= 12.1
    assert high / low >= 16


def test_spread_of_counts_and_constants():
    votes = np.zeros((3, 100), np.float32)
    votes[:, :3] = [40, 12, 5]
    assert spread_of(votes, votes >= 0).width > 0
    assert spread_of(np.full((2, 5), 7.0, np.float32), np.ones((2, 5), bool)).width == 7
    nothing = spread_of(np.full((2, 5), -np.inf, np.float32), np.ones((2, 5), bool))
    assert nothing.width == 1


@given(
    mix=st.floats(0, 1),
    width=st.floats(1e-3, 1e3),
    rise=st.floats(1e-3, 1.0),
)
def test_mix_and_lam_undo_each_other(mix, width, rise):
    lam = lam_of(mix, width, rise)
    assert 0 <= lam <= 1
    assert mix_of(lam, width, rise) == pytest.approx(mix, abs=1e-9)


def test_same_mix_is_the_same_ranking_where_sigmoids_are_linear():
    spread = spread_of(TABLE.local_scores["a"], TABLE.valid)
    gammas = 0.02 * spread.gammas[0], 0.04 * spread.gammas[0]
    found = [one_stage(TABLE, lam_of(0.4, 0.1, spread.sigmoid(g)), g, None, "a").AP for g in gammas]
    assert np.allclose(*found, atol=0.01)
    assert np.mean(found[0]) == pytest.approx(np.mean(found[1]), abs=1e-3)


def test_what_is_drawn_lies_in_the_space():
    space = search_space(TABLE, ["a", "b"], {"b": {"optional": True, "sizes": [2, 10]}})
    stages = drawn(space, count=200)
    first, second = ([s[n] for s in stages] for n in range(2))
    assert {f.shortlist_size == 0 for f in second} == {True, False}
    on = [(a, b) for a, b in zip(first, second, strict=True) if b.shortlist_size]
    assert all(b.shortlist_size <= min(a.shortlist_size, 10) for a, b in on)
    assert min(f.shortlist_size for f in first) <= 3
    assert max(f.shortlist_size for f in first) >= 30
    assert {0.0, 1.0} <= {f.lam for f in first}
    low, high = space.stages[0].gammas
    assert all(low <= f.gamma <= high for f in first)


@pytest.mark.parametrize("seed", range(5))
def test_params_give_back_the_stages(seed):
    space = search_space(TABLE, ["a", "b"], {"b": {"optional": True}})
    for stages in drawn(space, seed, 20):
        again = space.suggest(fixed(space.params(stages)))
        for one, two in zip(stages, again, strict=True):
            assert one.reranker == two.reranker
            assert two.shortlist_size == one.shortlist_size
            assert (two.lam, two.gamma) == pytest.approx((one.lam, one.gamma), abs=1e-9)


def test_settings_outside_become_their_equals_inside():
    space = search_space(TABLE, "a")
    low = space.stages[0].gammas[0]
    outside = StageSpec("a", 0.5, low / 10, 10_000)
    (inside,) = space.suggest(fixed(space.params((outside,))))
    assert (inside.gamma, inside.shortlist_size) == (low, TABLE.size)
    before, after = (one_stage(TABLE, f.lam, f.gamma, None, "a").mAP for f in (outside, inside))
    assert after == pytest.approx(before, abs=0.5)
    (off,) = space.suggest(fixed(space.params((StageSpec.of("a", OFF),))))
    assert off.lam == 1
    assert space.params((replace(outside, reranker="b"),)) is None


def test_borders_are_named():
    space = search_space(TABLE, ["a", "b"])
    _, high = space.stages[1].gammas
    found = space.borders((StageSpec("a", 0.0, 1.0, 5), StageSpec("b", 0.5, high, 40)))
    text = "; ".join(found)
    assert "1 a: λ lies on its lower border 0" in text
    assert f"2 b: γ lies on its upper border {high:g}" in text
    assert "2 b: the shortlist size lies on its upper border 40" in text
    assert space.borders((StageSpec("a", 0.5, 1.0, 6), StageSpec("b", 0.5, 1.0, 6))) == []


def test_overrides_fix_and_are_checked():
    space = search_space(TABLE, "a", {"a": {"sizes": 7, "lams": 0, "gammas": [1, 1]}})
    assert set(drawn(space)) == {(StageSpec("a", 0.0, 1.0, 7),)}
    for wrong, why in (
        ({"a": {"size": 3}}, "did you mean sizes"),
        ({"c": {}}, "none of the stages"),
        ({"a": {"lams": [0.5, 0.1]}}, "lams"),
        ({"a": {"gammas": "1"}}, "number or a pair"),
    ):
        with pytest.raises(SettingError, match=why):
            search_space(TABLE, "a", wrong)


def test_a_reranker_that_looks_at_the_list_comes_first():
    table = replace(TABLE, list_depths={"b": 10})
    assert search_space(table, "b").stages[0].sizes == (10, 40)
    with pytest.raises(TableError, match="first stage of a cascade"):
        search_space(table, ["a", "b"])


def test_exact_lam_leaves_the_last_lam_out():
    space = search_space(TABLE, ["a", "b"], exact_lam=True)
    trial = optuna.create_study().ask()
    space.suggest(trial)
    assert "1 a mix" in trial.params
    assert "2 b mix" not in trial.params


def test_published_grid():
    grid = GridSpace(("a",))
    assert len(grid) == 792
    assert (len(SIZES), len(LAMS), len(GAMMAS)) == (6, 11, 12)
    point = (StageSpec("a", 0.3, 0.05, 400),)
    assert grid.suggest(fixed(grid.params(point))) == point
    assert grid.params((StageSpec("a", 0.35, 0.05, 400),)) is None
    assert (
        "γ lies on the grid's upper border 1" in grid.borders((StageSpec("a", 0.5, 1.0, 100),))[0]
    )


def test_grid_values_are_those_of_the_table():
    values = grid_values(TABLE, ("a", "b"))
    assert values.values.shape == (2 * 792, len(TABLE))
    for number in (0, 500, 1000, 1583):
        own = evaluate_stages(TABLE, values.stages[number])
        assert np.allclose(values.values[number], own.AP, atol=1e-12)
    assert values.best() == values.values.mean(axis=1).argmax()


def test_stages_text_is_exact():
    stages = (StageSpec("a", 1 / 3, 2 / 7, 10), StageSpec("b", 0.1, 1e-9, None))
    assert tuple(parse_stages(stages_text(stages))) == stages
