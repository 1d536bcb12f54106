"""Run as a script: one worker of a study that is slow enough to be killed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import optuna

from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.search_options import TuneOptions
from patchrerank.tuning.trials.studies import open_storage
from patchrerank.tuning.tune import tune
from prepared import start
from signal_tables import signal_table

TABLE = signal_table(names=("a",))


def slow_map(result):
    """The mean average precision, after a while."""
    time.sleep(0.03)
    return float(np.mean(result.AP))


def meeting_map(result):
    """The mean average precision, as soon as two processes have asked for it."""
    place = Path(os.environ["MEETING_PLACE"])
    (place / str(os.getpid())).touch()
    end = time.monotonic() + 60
    while len(list(place.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    return float(np.mean(result.AP))


def run(storage, trials, sampler="refine", workers=1, objective=slow_map):
    options = TuneOptions(storage=storage, sampler=sampler, progress=False, seed=7, workers=workers)
    return tune(TABLE, search_space(TABLE), objective, trials, options)


def start_worker(storage, trials, *sampler):
    """Start a process that works on the study."""
    return start(__file__, storage, trials, *sampler)


def trials_of(storage, *states):
    """What the study holds; nothing if it is not begun yet."""
    try:
        study = optuna.load_study(study_name="patchrerank", storage=open_storage(storage))
    except KeyError:
        return []
    return study.get_trials(deepcopy=False, states=states or None)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


if __name__ == "__main__":
    run(*sys.argv[1:2], int(sys.argv[2]), *sys.argv[3:4])
