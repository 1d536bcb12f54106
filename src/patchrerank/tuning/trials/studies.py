"""Optuna studies that outlive their processes: where they are kept, and what was left behind."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from patchrerank.errors import SettingError
from patchrerank.files import check_folder
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.databases import database_turn, open_database
from patchrerank.tuning.trials.databases import takes_turns as database_takes_turns
from patchrerank.tuning.trials.journal import open_journal
from patchrerank.tuning.trials.journal import turn as journal_turn
from patchrerank.tuning.trials.journal_lines import check_journal
from patchrerank.tuning.trials.objective import Direction
from patchrerank.tuning.trials.seeded import FAILURE
from patchrerank.tuning.trials.surplus import RETRY, SURPLUS
from patchrerank.tuning.trials.worker_names import STALE_AFTER, UNNAMED_SECONDS, still_runs

RECORD = "patchrerank"
"""Attribute of a study: what it tunes."""

MADE_OF = "made_of"
"""Key of the record: what the table is made of, where a study had it built."""

SAME = ("table", "space", "objective", "constraints", "pruning")
"""What must not change when a study goes on."""

Storage = str | Path | None
"""A journal file, an Optuna storage URL, or None: in memory."""


def is_journal(storage: Storage) -> bool:
    """Tell a journal file from a URL, or from nothing."""
    return storage is not None and "://" not in str(storage)


def check_storage(storage: Storage) -> None:
    """Refuse a journal that cannot be opened, before any work; what is there stays as it is.

    Raises:
        SettingError: see :func:`open_storage`.
    """
    if storage is not None and is_journal(storage):
        check_journal(Path(storage))
        check_folder(storage, Path(storage).parent)


def open_storage(storage: Storage) -> BaseStorage | None:
    """Open a storage for Optuna.

    Raises:
        SettingError: the journal cannot be opened, or the URL leads nowhere.
        MissingExtraError: a data base's driver is absent.
    """
    if storage is None:
        return None
    return open_journal(Path(storage)) if is_journal(storage) else open_database(str(storage))


def open_study(
    storage: BaseStorage | None,
    name: str,
    directions: Sequence[Direction],
    record: Mapping[str, Any],
) -> optuna.Study:
    """Create a study, or go on with one that tunes the same.

    Args:
        storage: where it is kept; None: in memory.
        name: of the study.
        directions: of the goals.
        record: kept with the study; the keys in ``SAME`` must not differ.

    Raises:
        SettingError: the study is there, but tunes something else; names what.
    """
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=directions,
        load_if_exists=True,
    )
    known = study.user_attrs.get(RECORD)
    if known is None and study.get_trials(deepcopy=False):
        raise SettingError(f"study {name!r} in this storage was not made by patchrerank tune")
    if known is None:
        study.set_user_attr(RECORD, dict(record))
        return study
    _check_same(name, known, record, SAME)
    return study


def check_study(storage: Storage, name: str, record: Mapping[str, Any]) -> None:
    """Refuse a study that tunes something else, as far as can be told before its table is built.

    Args:
        storage: that may hold the study.
        name: of the study.
        record: what :func:`open_study` will be given, without ``table`` and ``space``; of
            ``made_of``, a mapping, each entry is compared.

    Raises:
        SettingError: see :func:`open_study`.
    """
    if storage is None or (is_journal(storage) and not Path(storage).exists()):
        return
    opened = open_storage(storage)
    names = [] if opened is None else optuna.get_all_study_names(opened)
    if opened is None or name not in names:
        return
    known = optuna.load_study(study_name=name, storage=opened).user_attrs.get(RECORD, {})
    _check_same(name, known, record, [key for key in SAME if key in record])
    before, now = (held.get(MADE_OF) or {} for held in (known, record))
    _check_same(name, before, now, [key for key in now if key in before])


def _check_same(
    name: str, known: Mapping[str, Any], record: Mapping[str, Any], keys: Sequence[str]
) -> None:
    for key in keys:
        if key in known and known[key] != record[key]:
            raise SettingError(
                f"study {name!r} in this storage was made for another {key}; use the same, or "
                "another study name or storage"
            )


def turn(storage: Storage, study: str) -> AbstractContextManager[None]:
    """Let one process at a time take a trial, where the storage can; see :func:`takes_turns`."""
    if storage is None:
        return nullcontext()
    return (
        journal_turn(Path(storage)) if is_journal(storage) else database_turn(str(storage), study)
    )


def takes_turns(storage: Storage) -> bool:
    """Tell whether :func:`turn` keeps others out."""
    return storage is None or is_journal(storage) or database_takes_turns(str(storage))


def recover(study: optuna.Study, stale_after: float = STALE_AFTER, *, alone: bool = True) -> int:
    """Mark trials of dead workers as failed, and queue their parameters again.

    A trial on another machine is lost when its worker has been silent for ``stale_after`` seconds,
    for nobody can look.

    Args:
        study: whose trials.
        stale_after: seconds.
        alone: this is one's :func:`turn`, and nobody is taking a trial meanwhile.

    Returns:
        How many were lost.
    """
    unnamed = 0.0 if alone else UNNAMED_SECONDS
    lost = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if not still_runs(trial, stale_after, unnamed)
    ]
    for trial in lost:
        cut_off(study, trial.number)
    queue_again(study)
    return len(lost)


def cut_off(study: optuna.Study, number: int) -> None:
    """Mark a trial as failed through no fault of its own, unless somebody has finished it."""
    try:
        study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
    except optuna.exceptions.UpdateFinishedTrialError:
        return


def queue_again(study: optuna.Study) -> None:
    """Queue the parameters of each trial that was cut off, once."""
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get(RETRY) for trial in trials}
    for trial in trials:
        own = {FAILURE, SURPLUS} & trial.user_attrs.keys()
        lost = trial.state == TrialState.FAIL and not own
        if lost and trial.number not in repeated:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                fixed = trial.system_attrs.get("fixed_params", {})
                study.enqueue_trial({**fixed, **trial.params}, user_attrs={RETRY: trial.number})


def identity_of(table: ScoreTable) -> str:
    """Return a hash of lists and judgements, and of local scores where nothing else tells them."""
    digest = hashlib.sha256(repr((table.fingerprint, table.convention, table.query_ids)).encode())
    for name in ("rows", "global_scores", "relevant", "junk", "n_positives"):
        digest.update(getattr(table, name).tobytes())
    for name, scores in table.local_scores.items():
        digest.update(name.encode())
        if not table.fingerprint:
            digest.update(scores.tobytes())
    return digest.hexdigest()
