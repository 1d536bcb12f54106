"""Studies in a real PostgreSQL and behind Optuna's gRPC proxy, whose workers are killed."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from killing_studies import TABLE, run, start_worker, trials_of, wait_until
from patchrerank.errors import MissingExtraError, SettingError
from patchrerank.tuning.trials.databases import database_turn, open_database, shown_url
from patchrerank.tuning.trials.heartbeat import beating
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.search_options import TuneOptions
from patchrerank.tuning.trials.seeded import place_of
from patchrerank.tuning.trials.studies import queue_again, recover
from patchrerank.tuning.trials.surplus import RETRY, SURPLUS, is_surplus
from patchrerank.tuning.trials.worker_names import SEEN, WORKER, still_runs
from patchrerank.tuning.tune import tune
from plain_postgres import plain_postgres
from prepared import start

TRIALS = 40


@pytest.fixture(scope="module")
def postgres():
    with plain_postgres() as url:
        yield url


@pytest.fixture
def empty(postgres, request):
    """A database without tables."""
    import psycopg

    name = f"t{abs(hash(request.node.name)):x}"
    plain = postgres.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.replace("/postgres?", f"/{name}?")


@pytest.fixture
def proxy(empty):
    """Optuna's gRPC proxy before a database, as a process of its own."""
    pytest.importorskip("grpc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        "import sys, optuna\n"
        "storage = optuna.storages.RDBStorage(sys.argv[1])\n"
        "optuna.storages.run_grpc_proxy_server(storage, host='127.0.0.1', port=int(sys.argv[2]))"
    )
    server = subprocess.Popen([sys.executable, "-c", code, empty, str(port)])
    url = f"grpc://127.0.0.1:{port}"
    end = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                break
        except OSError:
            assert time.monotonic() < end and server.poll() is None
            time.sleep(0.1)
    yield url
    server.kill()
    server.wait()


def four_workers_two_killed(storage):
    """Start four at once on an empty storage, kill two in mid-trial, and let two finish."""
    workers = [start_worker(storage, TRIALS, "random") for _ in range(4)]

    def well_begun():
        assert all(one.poll() is None for one in workers)
        return len(trials_of(storage, TrialState.COMPLETE)) >= 8

    wait_until(well_begun, 120)
    for one in workers[:2]:
        one.send_signal(signal.SIGKILL)
        one.wait()
    assert [one.wait(timeout=120) for one in workers[2:]] == [0, 0]
    return trials_of(storage)


def assert_all_accounted_for(trials):
    """Each has a value, was repeated by exactly one other, or was one too many."""
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    lost = [
        trial
        for trial in trials
        if trial.state == TrialState.FAIL and SURPLUS not in trial.user_attrs
    ]
    assert len(done) == TRIALS
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    repeats = Counter(trial.user_attrs[RETRY] for trial in done if RETRY in trial.user_attrs)
    again_lost = {trial.number for trial in lost if RETRY in trial.user_attrs}
    for trial in lost:
        assert repeats[trial.number] == 1 or trial.number in again_lost
    return done


def settings(trials):
    return Counter(tuple(sorted(trial.params.items())) for trial in trials)


@pytest.mark.slow
def test_four_workers_on_postgres_two_killed(empty, tmp_path):
    trials = four_workers_two_killed(empty)
    done = assert_all_accounted_for(trials)
    assert not any(SURPLUS in trial.user_attrs for trial in trials)
    undisturbed = run(tmp_path / "journal.log", TRIALS, "random")
    assert settings(done) == settings(undisturbed.study.trials)
    assert max(trial.value for trial in done) == undisturbed.best.value


@pytest.mark.slow
def test_four_workers_behind_the_proxy_two_killed(proxy, tmp_path):
    """Nobody can wait there: what was taken twice is given back, and the best is that of all."""
    done = assert_all_accounted_for(four_workers_two_killed(proxy))
    again = run(tmp_path / "journal.log", TRIALS, "random")
    first = {trial.user_attrs["origin"] for trial in done if "origin" in trial.user_attrs}
    assert first == {trial.origin for trial in again.trials if trial.origin}
    space = search_space(TABLE)
    values = {}
    for trial in done:
        stages = space.suggest(optuna.trial.FixedTrial(trial.params))
        values[str(stages)] = trial.value
    assert max(values.values()) == max(trial.value for trial in done)


@pytest.mark.slow
def test_a_study_in_postgres_is_that_of_a_journal(empty, tmp_path):
    options = {"progress": False, "seed": 3}
    space = search_space(TABLE)
    there = tune(TABLE, space, budget=12, options=TuneOptions(storage=empty, **options))
    here = tune(TABLE, space, budget=12, options=TuneOptions(storage=tmp_path / "j", **options))
    assert [trial.stages for trial in there.trials] == [trial.stages for trial in here.trials]
    assert [trial.value for trial in there.trials] == [trial.value for trial in here.trials]
    more = tune(TABLE, space, budget=15, options=TuneOptions(storage=empty, **options))
    assert [trial.stages for trial in more.trials[:12]] == [trial.stages for trial in there.trials]


@pytest.mark.slow
def test_many_open_an_empty_database_at_once(empty):
    code = (
        "import sys\nfrom patchrerank.tuning.trials.databases import open_database\n"
        "open_database(sys.argv[1]).get_all_studies()"
    )
    openers = [start("-c", code, empty) for _ in range(4)]
    assert [opener.wait(timeout=120) for opener in openers] == [0] * 4


def test_one_at_a_time(empty):
    order, inside = [], threading.Event()

    def second():
        inside.wait()
        with database_turn(empty, "s"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with database_turn(empty, "s"), database_turn(empty, "another"):
        inside.set()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql+psycopg://u:secret@127.0.0.1:1/db", "u:***@127.0.0.1:1/db: cannot be opened"),
        ("nosuch://x/y", "cannot be opened"),
        ("grpc://", "name the proxy's machine"),
    ],
)
def test_what_cannot_be_opened(url, told, monkeypatch):
    monkeypatch.setattr("patchrerank.tuning.trials.databases.TRIES", 1)
    if url.startswith("grpc"):
        pytest.importorskip("grpc")
    with pytest.raises(SettingError) as caught:
        open_database(url)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_driver_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"patchrerank\[postgres\]"):
        open_database("postgresql+psycopg://nowhere/db")


def test_urls_without_passwords():
    assert shown_url("postgresql+psycopg://me@h:5/d?x=1") == "postgresql+psycopg://me@h:5/d?x=1"
    assert shown_url("mysql://me:pa%40ss@h/d") == "mysql://me:***@h/d"


class Numbered:
    """Trials as a study holds them, numbered from 0."""

    def __new__(cls, *described):
        trials = []
        for number, (state, attributes) in enumerate(described):
            value = 0.5 if state == TrialState.COMPLETE else None
            trial = create_trial(state=state, value=value, user_attrs=attributes)
            trial.number = number
            trials.append(trial)
        return trials


def counts(trial):
    return trial.state == TrialState.COMPLETE


def test_which_trials_are_one_too_many():
    done, runs, lost = TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL
    trials = Numbered((done, {}), (lost, {}), (runs, {}), (runs, {}))
    assert [is_surplus(number, trials, 2, counts) for number in (2, 3)] == [False, True]
    assert not is_surplus(3, trials, 3, counts)
    twice = Numbered((lost, {}), (runs, {RETRY: 0}), (runs, {RETRY: 0}), (runs, {"origin": "a"}))
    assert [is_surplus(number, twice, 9, counts) for number in (1, 2, 3)] == [False, True, False]
    start_ = Numbered((done, {"origin": "a"}), (runs, {"origin": "a"}), (runs, {"origin": "b"}))
    assert [is_surplus(number, start_, 9, counts) for number in (1, 2)] == [True, False]


def test_a_trial_that_was_given_back_is_not_repeated():
    study = optuna.create_study()
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={SURPLUS: True}))
    study.add_trial(create_trial(state=TrialState.FAIL))
    queue_again(study)
    (waiting,) = study.get_trials(states=(TrialState.WAITING,))
    assert waiting.user_attrs[RETRY] == 1


def test_a_repeated_trial_has_the_place_of_the_one_that_was_lost():
    """Others have gone on meanwhile, and it may not have drawn anything yet."""
    study = optuna.create_study()
    lost, other = study.ask(), study.ask()
    study.tell(other, 0.5)
    study.tell(lost, state=TrialState.FAIL)
    queue_again(study)
    again = study.ask()
    after = study.ask()
    places = [place_of(study, study.trials[trial.number]) for trial in (other, again, after)]
    assert places == [0, 0, 2]


def test_signs_of_life_keep_a_trial_of_another_machine():
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr(WORKER, "elsewhere:1:2")
    with beating(trial, 0.01):
        time.sleep(0.1)
    (running,) = study.trials
    assert SEEN in running.user_attrs
    assert still_runs(running, 60)
    running.datetime_start = running.datetime_start.replace(year=2000)
    assert still_runs(running, 60)
    del running.user_attrs[SEEN]
    assert not still_runs(running, 60)


def test_a_trial_that_nobody_has_named_yet():
    study = optuna.create_study()
    study.ask()
    (running,) = study.trials
    assert not still_runs(running, 60)
    assert still_runs(running, 60, unnamed=60)
    assert recover(study, alone=False) == 0
    assert recover(study) == 1
