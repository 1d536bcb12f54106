"""Whether a file is a journal of Optuna's, and which of its lines is damaged.

A journal is a text file of JSON objects, one a line, each with an ``op_code`` and a
``worker_id``. Nothing here writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from patchrerank.errors import SettingError

BEGINS = b'{"op_code":'
"""The first bytes of every line that Optuna writes."""

NEW_STUDY, NEW_TRIAL = 0, 4
"""Operations."""

LONGEST_FIRST = 1 << 20
"""Bytes read to find the end of the first line."""


def check_journal(path: Path) -> None:
    """Refuse a file that is no journal, or has a damaged line; an empty or absent one is fine.

    A last line without its line break is what a killed process leaves, and is no damage.

    Raises:
        SettingError: names the line, and what to do.
    """
    if path.is_dir():
        raise SettingError(f"storage {path}: is a folder; name a file")
    if not path.exists():
        return
    if not path.is_file():
        raise SettingError(f"storage {path}: is no regular file; name another")
    with path.open("rb") as file:
        first = file.readline(LONGEST_FIRST)
    if not first:
        return
    whole = first.endswith(b"\n")
    if _operation(first) is None if whole else not first.startswith(BEGINS):
        raise SettingError(
            f"storage {path}: is there already and is no journal of Optuna's; name another file"
        )
    counts = {NEW_STUDY: 0, NEW_TRIAL: 0}
    for number, line in _lines(path):
        log = _operation(line)
        if log is None or _beyond(log, counts):
            raise damaged(path, number)
        if log["op_code"] in counts:
            counts[log["op_code"]] += 1


def damaged(path: Path, number: int | None = None) -> SettingError:
    """Return the error for a journal that Optuna cannot replay.

    Args:
        path: the journal.
        number: of the line, from 1; None: the first at which replaying fails.
    """
    number = number or _first_failing(path)
    if number is None:
        return SettingError(f"storage {path}: the journal is damaged; restore it from a copy")
    return SettingError(
        f"storage {path}: line {number} of the journal is damaged; restore the file from a copy, "
        f"or go on from the lines before it: head -n {number - 1} {path.name} > NEW, and name NEW"
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the number, from 1, and the bytes of each whole line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield number, line


def _operation(line: bytes) -> dict[str, Any] | None:
    """Return what a line says; None if it is no operation."""
    try:
        log = json.loads(line)
    except (ValueError, RecursionError):
        return None
    known = isinstance(log, dict) and type(log.get("op_code")) is int
    return log if known and isinstance(log.get("worker_id"), str) else None


def _beyond(log: dict[str, Any], counts: dict[int, int]) -> bool:
    """Tell a line about a study or trial that no line before it has begun."""
    for key, kind in (("study_id", NEW_STUDY), ("trial_id", NEW_TRIAL)):
        number = log.get(key, 0)
        if key in log and not (type(number) is int and 0 <= number < counts[kind]):
            return True
    return False


class _Replayed(BaseJournalBackend):
    """The lines of a file, counted while Optuna replays them."""

    def __init__(self, path: Path) -> None:
        self._path, self.number = path, 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the lines."""
        for self.number, line in _lines(self._path):  # noqa: B020
            yield json.loads(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Nothing is written."""


def _first_failing(path: Path) -> int | None:
    replayed = _Replayed(path)
    try:
        JournalStorage(replayed)
    except Exception:
        return replayed.number
    return None
