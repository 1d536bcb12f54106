"""Trials a second of a study kept in a journal, in PostgreSQL, and behind Optuna's gRPC proxy.

``pytest tests/benchmarks/test_storages_benchmark.py -m slow -s --benchmark-enable``: a minute; one
worker, a small table, so that what is timed is the storage.
"""

from __future__ import annotations

import threading
import time

import optuna
import pytest

from killing_studies import TABLE
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.search_options import TuneOptions
from patchrerank.tuning.tune import tune
from plain_postgres import plain_postgres

TRIALS = 100
PORT = 13_017


@pytest.fixture(scope="module")
def storages(tmp_path_factory):
    pytest.importorskip("grpc")
    with plain_postgres() as url:
        behind = optuna.storages.RDBStorage(url)
        serve = optuna.storages.run_grpc_proxy_server
        threading.Thread(
            target=serve, args=(behind,), kwargs={"host": "127.0.0.1", "port": PORT}, daemon=True
        ).start()
        time.sleep(2)
        yield {
            "journal file": tmp_path_factory.mktemp("j") / "journal.log",
            "PostgreSQL": url,
            "gRPC proxy before it": f"grpc://127.0.0.1:{PORT}",
        }


@pytest.mark.slow
def test_trials_a_second(storages):
    space = search_space(TABLE)
    best = set()
    for name, storage in storages.items():
        options = TuneOptions(
            storage=storage, study_name=name, sampler="random", seed=1, progress=False
        )
        tune(TABLE, space, budget=10, options=options)
        begun = time.perf_counter()
        found = tune(TABLE, space, budget=10 + TRIALS, options=options)
        took = time.perf_counter() - begun
        best.add(found.best.value)
        print(f"\n{name}: {TRIALS / took:.1f} trials a second")
    assert len(best) == 1
