from __future__ import annotations

import signal
from collections import Counter

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from killing_studies import TABLE, meeting_map, run, start_worker, trials_of, wait_until
from patchrerank.errors import SettingError
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.search_options import TuneOptions
from patchrerank.tuning.trials.seeded import FAILURE
from patchrerank.tuning.trials.studies import identity_of, open_storage, recover
from patchrerank.tuning.trials.surplus import RETRY
from patchrerank.tuning.tune import tune
from signal_tables import signal_table

TRIALS = 26


def start(journal):
    return start_worker(journal, TRIALS)


def counted(trials):
    return Counter(tuple(sorted(trial.params.items())) for trial in trials)


def completed(trials):
    return [trial for trial in trials if trial.state == TrialState.COMPLETE]


def assert_all_accounted_for(trials):
    """Each is finished, or was cut off and is repeated, with its parameters, by one other."""
    assert len(completed(trials)) == TRIALS
    repeated = {trial.user_attrs[RETRY]: trial for trial in trials if RETRY in trial.user_attrs}
    for trial in trials:
        assert trial.state in (TrialState.COMPLETE, TrialState.FAIL)
        if trial.state == TrialState.FAIL:
            assert FAILURE not in trial.user_attrs
            again = repeated[trial.number]
            assert trial.params.items() <= again.params.items()
    assert len(trials) == TRIALS + len(repeated)


@pytest.mark.slow
def test_two_workers_one_killed_and_resumed(tmp_path):
    """The resumed study is the undisturbed one of its own trials.

    With two workers the trials depend on who was faster, so what an undisturbed study makes of
    the same trials is computed by evaluating the very parameters one by one.
    """
    journal = tmp_path / "journal.log"
    workers = [start(journal), start(journal)]
    wait_until(lambda: len(trials_of(journal, TrialState.COMPLETE)) >= 8)
    for worker in workers:  # both, before one of them finds the other dead
        worker.send_signal(signal.SIGKILL)
    for worker in workers:
        worker.wait()
    left = trials_of(journal, TrialState.RUNNING)
    workers = [start(journal), start(journal)]
    for worker in workers:
        assert worker.wait(timeout=60) == 0
    trials = trials_of(journal)
    assert_all_accounted_for(trials)
    assert {t.number for t in trials if t.state == TrialState.FAIL} == {t.number for t in left}

    import numpy as np

    from patchrerank.tuning import evaluate_stages

    space = search_space(TABLE)
    done = completed(trials)
    values = [
        float(np.mean(evaluate_stages(TABLE, space.suggest(optuna.trial.FixedTrial(t.params))).AP))
        for t in done
    ]
    assert [trial.value for trial in done] == values
    assert run(journal, TRIALS).best.value == max(values)


def test_one_of_two_workers_is_killed_and_the_other_does_the_rest(tmp_path):
    journal = tmp_path / "journal.log"
    workers = [start(journal), start(journal)]
    wait_until(lambda: len(trials_of(journal, TrialState.COMPLETE)) >= 8)
    workers[0].send_signal(signal.SIGKILL)
    workers[0].wait()
    assert workers[1].wait(timeout=60) == 0
    assert_all_accounted_for(trials_of(journal))


def test_one_worker_killed_and_resumed_makes_the_very_trials_of_an_undisturbed_study(tmp_path):
    journal = tmp_path / "journal.log"
    worker = start(journal)
    wait_until(lambda: len(trials_of(journal, TrialState.COMPLETE)) >= 10)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    resumed = run(journal, TRIALS)
    assert_all_accounted_for(trials_of(journal))
    undisturbed = run(tmp_path / "other.log", TRIALS)
    other = optuna.load_study(
        study_name="patchrerank", storage=open_storage(tmp_path / "other.log")
    )
    assert counted(completed(trials_of(journal))) == counted(other.trials)
    assert resumed.best.value == undisturbed.best.value


def test_a_study_goes_on_up_to_the_total(tmp_path):
    journal = tmp_path / "journal.log"
    space = search_space(TABLE)
    options = TuneOptions(storage=journal, progress=False)
    assert len(tune(TABLE, space, budget=10, options=options).trials) == 10
    found = tune(TABLE, space, budget=25, options=options)
    assert len(found.trials) == 25
    assert len(tune(TABLE, space, budget=20, options=options).trials) == 25
    whole = tune(TABLE, space, budget=25, options=TuneOptions(progress=False))
    assert [t.stages for t in found.trials] == [t.stages for t in whole.trials]


def test_workers_share_a_study(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("MEETING_PLACE", str(tmp_path / "here"))
    journal = tmp_path / "journal.log"
    found = run(journal, TRIALS, workers=2, objective=meeting_map)
    done = [t for t in found.study.trials if t.state == TrialState.COMPLETE]
    assert len(done) == TRIALS
    assert len({t.user_attrs["worker"] for t in done}) == 2


def test_an_interrupted_trial_is_repeated(tmp_path):
    journal, calls = tmp_path / "journal.log", []

    def stopping(result):
        calls.append(result)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return float(result.AP.mean())

    options = TuneOptions(storage=journal, progress=False)
    with pytest.raises(KeyboardInterrupt):
        tune(TABLE, search_space(TABLE), stopping, 20, options)
    found = tune(TABLE, search_space(TABLE), stopping, 20, options)
    assert len(found.finished) == 20
    assert len(found.trials) == 21
    assert found.trials[9].stages != ()


def test_a_sqlite_url_works_too(tmp_path):
    options = TuneOptions(storage=f"sqlite:///{tmp_path}/study.db", progress=False)
    assert len(tune(TABLE, budget=5, options=options).trials) == 5
    assert len(tune(TABLE, budget=8, options=options).trials) == 8


def test_what_is_recorded(tmp_path):
    options = TuneOptions(storage=tmp_path / "journal.log", progress=False, seed=5)
    study = tune(TABLE, budget=3, options=options).study
    record = study.user_attrs["patchrerank"]
    assert (record["optuna"], record["seed"]) == (optuna.__version__, 5)
    assert record["table"] == identity_of(TABLE)
    measured = study.trials[0].user_attrs["measured"]
    assert set(measured) == {"mAP", "LocScore", "ms", "bytes"}
    plain = JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    other = optuna.load_study(study_name="patchrerank", storage=plain)
    assert other.best_trial.number == study.best_trial.number


@pytest.mark.parametrize(
    ("table", "change", "what"),
    [
        (signal_table(1, names=("a",)), {}, "table"),
        (TABLE, {"space": search_space(TABLE, overrides={"a": {"lams": [0.1, 0.9]}})}, "space"),
        (TABLE, {"objective": "LocScore"}, "objective"),
        (TABLE, {"constraints": ("ms<=5",)}, "constraints"),
    ],
)
def test_another_study_in_the_same_place_is_refused(tmp_path, table, change, what):
    journal = tmp_path / "journal.log"
    space = search_space(TABLE)
    tune(TABLE, space, budget=2, options=TuneOptions(storage=journal, progress=False))
    options = TuneOptions(
        storage=journal, progress=False, constraints=change.get("constraints", ())
    )
    with pytest.raises(SettingError, match=f"for another {what}"):
        tune(table, change.get("space", space), change.get("objective", "mAP"), 4, options)


def test_a_foreign_study_and_a_bad_storage_are_refused(tmp_path):
    journal = tmp_path / "journal.log"
    foreign = optuna.create_study(study_name="patchrerank", storage=open_storage(journal))
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    for storage, why in (
        (journal, "not made by patchrerank"),
        (tmp_path / "no" / "journal.log", "cannot be opened"),
        ("nonsense://x", "cannot be opened"),
    ):
        with pytest.raises(SettingError, match=why):
            tune(TABLE, budget=2, options=TuneOptions(storage=storage, progress=False))


def test_a_trial_on_another_machine_is_lost_only_after_a_while(tmp_path):
    study = optuna.create_study(storage=open_storage(tmp_path / "journal.log"))
    trial = study.ask()
    trial.set_user_attr("worker", "elsewhere:1:99")
    assert recover(study) == 0
    assert recover(study, stale_after=0.0) == 1
    unnamed = study.ask()
    assert unnamed.number == 1 and study.trials[1].user_attrs[RETRY] == 0
    assert recover(study) == 1
    assert [t.state for t in study.trials][:2] == [TrialState.FAIL] * 2


def test_a_line_that_was_cut_off_is_removed(tmp_path):
    journal = tmp_path / "journal.log"
    options = TuneOptions(storage=journal, progress=False)
    tune(TABLE, budget=4, options=options)
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 5, "tri')
    found = tune(TABLE, budget=6, options=options)
    assert len(found.trials) == 6
    assert journal.read_bytes().startswith(whole)
