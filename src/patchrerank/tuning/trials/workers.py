"""Running a search: one process or several on one study."""

from __future__ import annotations

import multiprocessing
import pickle
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import TrialState
from tqdm import tqdm

from patchrerank.errors import PatchRerankError, SettingError
from patchrerank.tuning.tables.cascades import Missing
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.first_settings import first_settings
from patchrerank.tuning.trials.heartbeat import beating
from patchrerank.tuning.trials.objective import Goal, Objective, constraints_of, goals_of
from patchrerank.tuning.trials.samplers import make_sampler
from patchrerank.tuning.trials.search import Search, search_of
from patchrerank.tuning.trials.search_options import Budget, TuneOptions
from patchrerank.tuning.trials.seeded import FAILURE
from patchrerank.tuning.trials.space import SearchSpace
from patchrerank.tuning.trials.studies import (
    MADE_OF,
    cut_off,
    identity_of,
    open_storage,
    open_study,
    recover,
    takes_turns,
    turn,
)
from patchrerank.tuning.trials.surplus import SURPLUS, is_surplus
from patchrerank.tuning.trials.trial_runner import TrialRunner
from patchrerank.tuning.trials.worker_names import WORKER, worker_name

if TYPE_CHECKING:
    from optuna import Study

WAIT = 0.1
"""Seconds between two looks at whether the other workers have finished."""


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know."""

    table: ScoreTable
    space: SearchSpace
    objective: Objective
    budget: Budget
    options: TuneOptions
    missing: Missing | None = None


def run(job: Job) -> Search:
    """Run a search with as many processes as were asked for, this one among them."""
    with _quiet():
        runner = _runner(job)
        study = _study(job)
        helpers = [_helper(job) for _ in range(job.options.workers - 1)]
        try:
            _work(study, runner, job)
        finally:
            for helper in helpers:
                helper.join()
        with turn(job.options.storage, job.options.study_name):
            recover(study, alone=takes_turns(job.options.storage))
        return search_of(study, runner.goals, job.options.sampler, job.options.seed)


def help_with(job: Job) -> None:
    """Run trials of a study that another process has begun, until it is finished."""
    with _quiet():
        runner = _runner(job)
        _work(_study(job), runner, replace(job, options=replace(job.options, progress=False)))


def _runner(job: Job) -> TrialRunner:
    return TrialRunner(
        job.table,
        job.space,
        goals_of(job.objective),
        constraints_of(job.table, job.options.constraints, job.missing),
        job.missing,
        prune=job.options.prune,
        seed=job.options.seed,
    )


def _helper(job: Job) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=help_with, args=(job,))
    try:
        process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise SettingError(
            f"several workers need functions that other processes can import ({error}); define "
            "objective and constraints at the top of a module"
        ) from error
    return process


def _study(job: Job) -> Study:
    """Open the study, and queue the settings to begin with if it is new."""
    options = job.options
    goals = goals_of(job.objective)
    record = {
        "table": identity_of(job.table),
        "space": _plain(job.space.record()),
        **asked(goals, options),
        "sampler": options.sampler,
        "seed": options.seed,
        "optuna": optuna.__version__,
    }
    directions = [goal.direction for goal in goals]
    storage = open_storage(options.storage)
    with turn(options.storage, options.study_name):
        study = open_study(storage, options.study_name, list(directions), record)
        if not study.get_trials(deepcopy=False) and options.sampler != "grid":
            for origin, params in first_settings(job.table, job.space, options.start):
                study.enqueue_trial(params, user_attrs={"origin": origin})
    study.sampler = make_sampler(options.sampler, job.space, options.seed)
    if options.prune:
        study.pruner = optuna.pruners.WilcoxonPruner()
    return study


def asked(goals: Sequence[Goal], options: TuneOptions) -> dict[str, Any]:
    """Return the part of a study's record that follows from what was asked for alone."""
    return {
        "objective": [goal.name for goal in goals],
        "constraints": [str(getattr(item, "__name__", item)) for item in options.constraints],
        "pruning": options.prune,
        MADE_OF: dict(options.made_of),
    }


def _work(study: Study, runner: TrialRunner, job: Job) -> None:
    """Run trials until the study has as many as it should have."""
    begun, limit = time.monotonic(), job.budget
    total = limit.trials
    with tqdm(total=total, desc="tuning", unit="trial", disable=not job.options.progress) as bar:
        while limit.seconds is None or time.monotonic() - begun < limit.seconds:
            done, trial = _next(study, job)
            bar.update(min(done, total) - bar.n)
            if trial is not None:
                with suppress(optuna.exceptions.UpdateFinishedTrialError):
                    # else: others took this worker for dead, and see to the trial themselves
                    _run_trial(study, runner, trial, watched=job.options.storage is not None)
            elif done >= total:
                return
            else:
                time.sleep(WAIT)


def _next(study: Study, job: Job) -> tuple[int, optuna.Trial | None]:
    """Return how many trials are finished, and a new one if there is still one to take."""
    options, budget = job.options, job.budget.trials
    alone = takes_turns(options.storage)
    with turn(options.storage, options.study_name):
        recover(study, alone=alone)
        trials = study.get_trials(deepcopy=False)
        done = sum(_counts(trial) for trial in trials)
        taken = sum(trial.state == TrialState.RUNNING for trial in trials)
        if done + taken >= budget:
            return done, None
        trial = study.ask()
        trial.set_user_attr(WORKER, worker_name())
    if alone or not _given_back(study, trial, budget):
        return done, trial
    return done, None


def _given_back(study: Study, trial: optuna.Trial, budget: int) -> bool:
    """End a trial that others, who could not be waited for, have made one too many."""
    if not is_surplus(trial.number, study.get_trials(deepcopy=False), budget, _counts):
        return False
    trial.set_user_attr(SURPLUS, True)
    cut_off(study, trial.number)
    return True


def _counts(trial: optuna.trial.FrozenTrial) -> bool:
    """Tell whether a trial is one of those that were asked for: finished, or failed by itself."""
    failed = trial.state == TrialState.FAIL and FAILURE in trial.user_attrs
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or failed


def _run_trial(study: Study, runner: TrialRunner, trial: optuna.Trial, *, watched: bool) -> None:
    """Run a trial; with ``watched``, others can see the study, and want signs of life."""
    try:
        with beating(trial) if watched else nullcontext():
            values = runner(trial)
    except PatchRerankError as error:
        trial.set_user_attr(FAILURE, str(error))
        study.tell(trial, state=TrialState.FAIL)
        raise
    except BaseException:
        cut_off(study, trial.number)
        raise
    if np.isnan(values).any():
        trial.set_user_attr(FAILURE, "a goal is NaN")
        study.tell(trial, state=TrialState.FAIL)
        return
    study.tell(trial, list(values))


def _plain(value: Any) -> Any:
    """Return a record as it comes back from JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from reporting every step; its warnings about experiments go nowhere."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
