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

STALE_AFTER = 3600.0
"""Seconds after which a trial on another machine counts as lost."""


def worker_name() -> str:
    """Return what tells this process from all others: machine, number, start."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def still_runs(trial: FrozenTrial, stale_after: float) -> bool:
    """Tell whether somebody is still at work on a trial."""
    host, _, rest = str(trial.user_attrs.get(WORKER, "")).rpartition(":")[0].rpartition(":")
    started = str(trial.user_attrs.get(WORKER, "")).rpartition(":")[2]
    if host == socket.gethostname() and rest.isdigit():
        return _alive(int(rest)) and _started(int(rest)) == started
    begun = trial.datetime_start
    if not host or begun is None:
        return False
    if begun.tzinfo is None:
        begun = begun.replace(tzinfo=UTC)
    return (datetime.now(UTC) - begun).total_seconds() < stale_after


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
