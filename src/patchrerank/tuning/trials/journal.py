"""Journal files whose lock goes with its holder, so that a killed worker keeps no one waiting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from patchrerank.errors import SettingError, cannot_write
from patchrerank.tuning.trials.journal_lines import check_journal, damaged

CHUNK = 65536
"""Bytes read at a time, from the end, when a half-written line is looked for."""


class KernelLock(JournalFileOpenLock):
    """A lock that the operating system releases when its holder dies.

    Optuna's own is a file that stays behind a killed process, and makes others wait for 30 s.

    Args:
        path: of a file beside the journal.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Wait until nobody else holds it."""
        self._file = _locked(self._path)
        return True

    def release(self) -> None:
        """Let the next one have it."""
        if self._file is not None:
            self._file.close()
            self._file = None


class _Journal(JournalFileBackend):
    """A journal that a full disk leaves as it was, and whose refusal says so."""

    def __init__(self, path: Path, lock: KernelLock | None) -> None:
        super().__init__(str(path), lock_obj=lock)
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, all or none."""
        before = self._path.stat().st_size
        try:
            super().append_logs(logs)
        except OSError as error:
            if self._path.stat().st_size > before:
                os.truncate(self._path, before)
            raise cannot_write(self._path, error) from error


def open_journal(path: Path) -> JournalStorage:
    """Open a journal file for Optuna; a line that was cut off by a crash is removed.

    Raises:
        SettingError: its folder is not there, or not to be written to; the file is not empty and
            no journal, or a line is damaged. Nothing has been touched then.
    """
    check_journal(path)
    lock = _beside(path, "lock")
    try:
        with _held(lock):
            _mend(path)
        return JournalStorage(_Journal(path, KernelLock(lock) if _system_locks() else None))
    except SettingError:
        raise
    except OSError as error:
        raise cannot_write(path, error, "cannot be opened") from error
    except Exception as error:  # whatever Optuna makes of a line that says something else
        raise damaged(path) from error


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Let one process at a time take a trial from a journal's study."""
    with _held(_beside(path, "turn")):
        yield


@contextmanager
def _held(path: Path) -> Iterator[None]:
    with _locked(path):
        yield


def _locked(path: Path) -> IO[bytes]:
    """Open a file and lock it until it is closed, where the platform knows such locks."""
    file = path.open("ab")
    if _system_locks():
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
    return file


def _system_locks() -> bool:
    try:
        import fcntl  # noqa: F401
    except ImportError:
        return False
    return True


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}.{what}")


def _mend(path: Path) -> None:
    """Cut a journal behind its last whole line."""
    if not path.exists():
        return
    check_journal(path)  # again, now that nobody else is writing
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        whole = _end_of_lines(file, end)
        if whole < end:
            file.truncate(whole)


def _end_of_lines(file: IO[Any], end: int) -> int:
    """Return the offset behind the last line break."""
    while end > 0:
        start = max(0, end - CHUNK)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + int(found) + 1
        end = start
    return 0
