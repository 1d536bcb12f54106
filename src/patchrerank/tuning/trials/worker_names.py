"""Who runs a trial, and whether they still do."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

WORKER = "worker"
"""Attribute of a trial: who runs it."""

SEEN = "seen"
"""Attribute of a trial: when its worker last gave a sign of life."""

BEAT_SECONDS = 30.0

UNNAMED_SECONDS = 60.0
"""Where workers cannot wait for each other: how long one has to say that a trial is its own."""

STALE_AFTER = 600.0
"""Seconds without a sign of life after which a trial on another machine counts as lost; clocks of
machines may differ by minutes."""


def worker_name() -> str:
    """Return what tells this process from all others: machine, number, start."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def still_runs(trial: FrozenTrial, stale_after: float, unnamed: float = 0.0) -> bool:
    """Tell whether somebody is still at work on a trial.

    Args:
        trial: that is running, as far as its storage knows.
        stale_after: seconds that a worker on another machine may be silent.
        unnamed: seconds in which nobody need have said that it is theirs; 0 where trials are taken
            and named in one turn.
    """
    host, _, rest = str(trial.user_attrs.get(WORKER, "")).rpartition(":")[0].rpartition(":")
    started = str(trial.user_attrs.get(WORKER, "")).rpartition(":")[2]
    if host == socket.gethostname() and rest.isdigit():
        return _alive(int(rest)) and _started(int(rest)) == started
    last = _last_seen(trial)
    if last is None:
        return False
    return (datetime.now(UTC) - last).total_seconds() < (stale_after if host else unnamed)


def _last_seen(trial: FrozenTrial) -> datetime | None:
    """Return when a trial's worker last wrote into it, by its own clock."""
    seen = trial.user_attrs.get(SEEN)
    last = trial.datetime_start if seen is None else datetime.fromisoformat(str(seen))
    return last.replace(tzinfo=UTC) if last is not None and last.tzinfo is None else last


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _stat(process)[:1] != ["Z"]


def _started(process: int) -> str:
    """Return when a process started, in the system's own count; empty if it does not say."""
    fields = _stat(process)
    return fields[19] if len(fields) > 19 else ""


def _stat(process: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the state on; nothing where there is none."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
