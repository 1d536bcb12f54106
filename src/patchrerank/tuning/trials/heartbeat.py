"""Signs of life of a worker, in its trial: so that others need not wait long for a dead one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import optuna

from patchrerank.tuning.trials.worker_names import BEAT_SECONDS, SEEN


@contextmanager
def beating(trial: optuna.Trial, seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """Write the time into a trial, every so many seconds, while it runs.

    Works with every storage, Optuna's gRPC proxy among them, which has no heartbeat of its own. A
    sign that cannot be written is left out: the trial's own end says what is wrong.
    """
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            with suppress(Exception):
                trial.set_user_attr(SEEN, datetime.now(UTC).isoformat())

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
