from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest

from patchrerank.errors import MissingExtraError, SettingError
from patchrerank.fusion import Fusion
from patchrerank.pipeline import StageSpec
from patchrerank.tuning import evaluate_stages
from patchrerank.tuning.fused.exact_lambda import exact_lambdas
from patchrerank.tuning.fused.judged_lists import JudgedLists
from patchrerank.tuning.tables.grids import evaluate_grid
from patchrerank.tuning.trials.exact_search import EPSILON, search_exactly, solve_lam
from patchrerank.tuning.trials.grid_space import GridSpace, grid_values
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.objective import constraints_of, goals_of
from patchrerank.tuning.trials.samplers import make_sampler
from patchrerank.tuning.trials.search_options import Budget, TuneOptions
from patchrerank.tuning.trials.trial_runner import TrialRunner
from patchrerank.tuning.tune import default_space, tune
from signal_tables import signal_table, top_five
from synthetic import one_stage

TABLE = signal_table(names=("a",))
TWO = signal_table()
QUIET = TuneOptions(progress=False)


def settings(**more):
    return replace(QUIET, **more)


def tried(search):
    return [(trial.stages, trial.values) for trial in search.trials]


def test_tuning_beats_the_grid_and_comes_close_to_the_exact_optimum():
    found = tune(TABLE, budget=60, options=QUIET)
    grid = grid_values(TABLE, ("a",))
    exact = search_exactly(TABLE)
    assert len(found.finished) == 60
    assert found.best.value >= np.nanmean(grid.values[grid.best()]) - 1e-9
    assert found.best.value >= exact.found[0].value - 0.005


def test_values_are_those_of_the_stages():
    found = tune(TWO, search_space(TWO, ["a", "b"]), budget=20, options=QUIET)
    for trial in found.finished:
        used = [stage for stage in trial.stages if stage.shortlist_size]
        assert trial.value == np.nanmean(evaluate_stages(TWO, used).AP)


def test_the_first_trials_are_the_known_settings():
    found = tune(TABLE, search_space(TABLE), budget=8, options=QUIET)
    origins = [trial.origin for trial in found.trials]
    assert origins == ["first stage", "alone", *["published"] * 4, "", ""]
    assert found.trials[0].value == pytest.approx(np.nanmean(evaluate_stages(TABLE, []).AP))
    assert found.trials[1].stages[0].lam == 0
    own = (StageSpec("a", 0.25, 1.0, 17),)
    started = tune(TABLE, search_space(TABLE), budget=1, options=settings(start=[own]))
    (stage,) = started.trials[0].stages
    assert (stage.lam, stage.gamma, stage.shortlist_size) == pytest.approx((0.25, 1.0, 17))


@pytest.mark.parametrize("sampler", ["tpe", "refine", "random", "qmc", "nsgaii"])
def test_the_same_seed_gives_the_same_trials(sampler):
    space = search_space(TABLE)
    runs = [
        tried(tune(TABLE, space, budget=30, options=settings(sampler=sampler, seed=seed)))
        for seed in (3, 3, 4)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.slow
def test_the_gaussian_process_runs():
    assert tune(TABLE, budget=14, options=settings(sampler="gp")).best is not None


def test_the_grid_is_walked_once():
    small = GridSpace(("a",), (0, 20), (0.0, 0.5, 1.0), (0.1, 1.0))
    found = tune(TABLE, small, budget=100, options=settings(sampler="grid"))
    assert len(found.trials) == len({trial.stages for trial in found.trials}) == 12
    whole = default_space(TABLE, options=settings(sampler="grid"))
    assert isinstance(whole, GridSpace)


def test_cascades_switch_stages_off():
    space = search_space(TWO, ["a", "b"], {"a": {"optional": True}, "b": {"optional": True}})
    found = tune(TWO, space, budget=60, options=QUIET)
    kinds = {tuple(stage.used for stage in trial.stages) for trial in found.trials}
    assert len(kinds) == 4
    assert found.best.value > found.trials[0].value


def test_several_goals_give_a_front():
    found = tune(TABLE, objective=["mAP", "ms"], budget=40, options=QUIET)
    values = np.array([trial.values for trial in found.front])
    assert len(values) > 2
    assert (np.diff(values[:, 0]) < 0).all()
    assert (np.diff(values[:, 1]) < 0).all()
    for trial in found.finished:
        assert ((values[:, 0] >= trial.values[0]) & (values[:, 1] <= trial.values[1])).any()
    assert {(t.number) for t in found.front} <= {t.number for t in found.study.best_trials}


def test_constraints_are_kept():
    options = settings(constraints=("ms<=2", "areas>=first"))
    found = tune(TABLE, objective="mAP", budget=40, options=options)
    assert {trial.feasible for trial in found.finished} == {True, False}
    result = evaluate_stages(TABLE, found.best.stages)
    assert result.milliseconds <= 2
    for low, high in ((0, 0.1), (0.1, 0.25), (0.25, 0.7)):
        part = TABLE.within(low, high)
        first, now = (evaluate_stages(part, s).mAP for s in ([], found.best.stages))
        assert now >= first - 1e-9
    impossible = tune(TABLE, budget=8, options=settings(constraints=("mAP>=1.1",)))
    assert impossible.best is None


def test_a_user_s_goal_and_constraint():
    found = tune(TABLE, search_space(TABLE), top_five, 20, settings(constraints=(_over_half,)))
    assert found.goals == ("top_five",)
    assert found.best.value == top_five(evaluate_stages(TABLE, found.best.stages))
    assert found.best.feasible


def _over_half(result):
    return 0.5 - result.mAP / 100


def test_a_goal_that_is_nan_fails_the_trial():
    found = tune(TABLE, search_space(TABLE), lambda result: float("nan"), 5, QUIET)
    assert len(found.trials) == 5
    assert not found.finished


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: goals_of("map"), "did you mean mAP"),
        (lambda: goals_of([]), "at least one goal"),
        (lambda: goals_of(["mAP", "mAP"]), "each once"),
        (lambda: constraints_of(TABLE, ["ms<20"]), "malformed"),
        (lambda: constraints_of(TABLE, ["mss<=20"]), "did you mean ms"),
        (lambda: constraints_of(TABLE, ["ms<=abc"]), "malformed"),
        (lambda: make_sampler("tpee", search_space(TABLE), 0), "did you mean tpe"),
        (lambda: make_sampler("grid", search_space(TABLE), 0), "needs a grid"),
        (lambda: Budget(0), "at least 1"),
        (lambda: Budget(seconds=0), "above 0"),
        (lambda: TuneOptions(workers=2), "need a storage"),
        (lambda: TuneOptions(workers=0), "at least 1"),
        (lambda: tune(TABLE, objective="ms", budget=1, options=settings(prune=True)), "pruned"),
        (
            lambda: tune(TABLE, search_space(TABLE, exact_lam=True), "ms", 1, QUIET),
            "only be solved for mAP",
        ),
        (
            lambda: tune(TABLE, budget=1, options=settings(start=[(StageSpec.of("b", Fusion()),)])),
            "start",
        ),
    ],
)
def test_impossible_settings_are_refused(call, why):
    with pytest.raises(SettingError, match=why):
        call()


def test_unknown_costs_and_overlaps_are_said():
    bare = replace(TABLE, costs={}, overlaps={})
    with pytest.raises(SettingError, match="knows no costs"):
        tune(bare, objective=["mAP", "ms"], budget=2, options=QUIET)
    with pytest.raises(SettingError, match="does not know"):
        tune(bare, budget=2, options=settings(constraints=("ms<=3",)))
    with pytest.raises(SettingError, match="knows no overlaps"):
        tune(bare, search_space(bare), "LocScore", 2, QUIET)


def test_cmaes_says_what_it_lacks(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cmaes", None)
    with pytest.raises(MissingExtraError, match="pip install cmaes"):
        make_sampler("cmaes", search_space(TABLE), 0)


def test_the_solved_lam_is_the_exact_one():
    first, last = StageSpec("a", 0.2, 1.0, 30), StageSpec("b", 1.0, 1.3, 25)
    stages = [first, replace(last, lam=solve_lam(TWO, [first], last))]
    value = np.nanmean(evaluate_stages(TWO, stages).AP)
    others = [
        np.nanmean(evaluate_stages(TWO, [first, replace(last, lam=x)]).AP)
        for x in np.linspace(0, 1, 101)
    ]
    assert value >= max(others) - EPSILON


def test_an_end_is_preferred_to_a_lam_a_hair_away():
    useless = replace(TABLE, local_scores={"a": np.zeros_like(TABLE.local_scores["a"])})
    assert solve_lam(useless, [], StageSpec("a", 1.0, 1.0, None)) in (0.0, 1.0)


def test_exact_search_is_never_below_a_lattice_of_lams():
    found = search_exactly(TABLE)
    name = found.reranker
    best = found.found[0]
    grid = evaluate_grid(
        TABLE, np.linspace(0, 1, 501), [best.gamma], [best.shortlist_size], name
    ).mean(axis=-1)
    assert best.value >= grid.max() - 1e-12
    assert found.value >= best.value - 2 * EPSILON
    assert found.value == pytest.approx(np.nanmean(evaluate_stages(TABLE, found.stages).AP))
    again = exact_lambdas(
        TABLE.global_scores,
        TABLE.local_scores["a"],
        TABLE.relevant,
        ~TABLE.valid,
        TABLE.n_positives,
        [best.gamma],
        [best.shortlist_size],
    )
    assert again[0].value == best.value


def test_exact_lam_for_locscore():
    found = tune(TABLE, objective="LocScore", budget=10, options=QUIET)
    assert not any("mix" in name for name in found.study.trials[0].params)
    best = max(one_stage(TABLE, lam, 1.0, None).LocScore.mean() for lam in np.linspace(0, 1, 21))
    assert found.best.value >= best - 0.01


class Counting:
    """A filler that knows all scores and counts the pairs that it is asked for."""

    def __init__(self, full):
        self.full = full
        hollow = {name: np.full_like(s, np.nan) for name, s in full.local_scores.items()}
        self.table = replace(full, local_scores=hollow)
        self.asked = 0

    def __call__(self, table, reranker, wanted):
        self.asked += int(wanted.sum())
        place = [self.full.query_ids.index(name) for name in table.query_ids]
        scores = np.where(
            wanted, self.full.local_scores[reranker][place], table.local_scores[reranker]
        )
        whole = self.table.local_scores[reranker].copy()
        whole[place] = scores
        self.table = replace(self.table, local_scores={**self.table.local_scores, reranker: whole})
        return replace(table, local_scores={**table.local_scores, reranker: scores})


def test_scores_are_computed_on_demand_and_bad_trials_pruned():
    full = signal_table(queries=40, names=("a",))
    space = search_space(full, overrides={"a": {"sizes": [1, 40]}})
    runs = {}
    for prune in (False, True):
        filler = Counting(full)
        options = settings(prune=prune, sampler="random")
        runs[prune] = tune(filler.table, space, "mAP", 30, options, filler), filler.asked
    plain, pruned = runs[False][0], runs[True][0]
    stopped = [t.number for t in pruned.study.trials if "pruned after" in t.user_attrs]
    assert stopped
    assert pruned.best.number not in stopped
    assert pruned.best.value == pytest.approx(plain.best.value)
    for number in set(range(30)) - set(stopped):
        assert pruned.trials[number].value == pytest.approx(plain.trials[number].value)
    assert runs[True][1] <= runs[False][1]


def test_on_demand_needs_one_worker(tmp_path):
    options = settings(workers=2, storage=tmp_path / "j.log")
    with pytest.raises(SettingError, match="by one worker"):
        tune(TABLE, search_space(TABLE), budget=1, options=options, missing=Counting(TABLE))


def test_evaluator_prefers_what_was_filled():
    filler = Counting(TABLE)
    goals = goals_of("mAP")
    runner = TrialRunner(filler.table, search_space(TABLE), goals, missing=filler)
    stages = (StageSpec("a", 0.5, 1.0, 10),)
    first, asked = runner.evaluate(stages).mAP, filler.asked
    assert runner.evaluate(stages).mAP == first
    assert filler.asked == asked == 10 * len(TABLE)


def test_optuna_s_own_settings_stay():
    before = optuna.logging.get_verbosity()
    tune(TABLE, budget=2, options=QUIET)
    assert optuna.logging.get_verbosity() == before


def test_trials_share_the_lists_that_were_judged_once(monkeypatch):
    made = []
    of = JudgedLists.of
    monkeypatch.setattr(
        JudgedLists, "of", lambda *args, **how: made.append(args) or of(*args, **how)
    )
    tune(replace(TABLE), objective="mAP", budget=12, options=QUIET)
    assert len(made) == 1
