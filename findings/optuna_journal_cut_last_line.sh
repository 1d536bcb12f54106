#!/usr/bin/env bash
# Optuna 5.0.0: a journal file whose last line was cut short is read without a word, and the next
# worker that joins makes it unreadable for good.
#
# A write that is interrupted (full disk, power cut) leaves the journal without the end of its last line.
# - Loading the study says nothing; the trial that had finished is RUNNING.
# - The next worker appends to the cut line, and fails with an AttributeError of Optuna's own insides.
# - The one after that fails to parse the joined line, and from then on so does everybody who only
#   wants to read the trials that were sound.
# What to do: see that the file ends with a line break before joining, and cut back to the last one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check optuna==5.0.0

cat >show.py <<'PYTHON'
import json
from importlib.metadata import version
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

optuna.logging.set_verbosity(optuna.logging.ERROR)
JOURNAL = Path("journal.log")


def storage():
    return JournalStorage(JournalFileBackend(str(JOURNAL)))


def attempt(title, act):
    try:
        print(f"{title}: {act()}")
    except (AttributeError, json.JSONDecodeError) as error:
        print(f"{title}: {type(error).__name__}")


def states():
    return [t.state.name for t in optuna.load_study(study_name="s", storage=storage()).trials]


def one_more():
    study = optuna.load_study(study_name="s", storage=storage())
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    return "done"


print("optuna", version("optuna"))
study = optuna.create_study(study_name="s", storage=storage())
study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
attempt("whole file, read", states)
JOURNAL.write_bytes(JOURNAL.read_bytes()[:-20])
attempt("last line cut, read", states)
attempt("last line cut, first worker", one_more)
attempt("read", states)
attempt("second worker", one_more)
attempt("read", states)
PYTHON

cat >expected.txt <<'EXPECTED'
optuna 5.0.0
whole file, read: ['COMPLETE', 'COMPLETE', 'COMPLETE']
last line cut, read: ['COMPLETE', 'COMPLETE', 'RUNNING']
last line cut, first worker: AttributeError
read: ['COMPLETE', 'COMPLETE', 'RUNNING']
second worker: JSONDecodeError
read: JSONDecodeError
EXPECTED

venv/bin/python -I show.py | tee seen.txt
diff expected.txt seen.txt || { echo "changed: the output is not the expected one" >&2; exit 1; }
