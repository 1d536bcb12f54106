"""One core for a whole run: no library can take more than its turn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POOLS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
)
"""What libraries ask for their number of threads when they start."""

_TASKS = Path("/proc/self/task")


@contextmanager
def one_core() -> Iterator[int | None]:
    """Keep this process on one core, and tell libraries that start meanwhile to use one thread.

    Threads that run already are moved, new ones inherit; afterwards all may run where this
    thread could before. Enter it before libraries are imported: many count cores then.

    Yields:
        The core's number; None where the system pins no process (macOS, Windows).
    """
    asked = {name: os.environ.get(name) for name in POOLS}
    os.environ.update(dict.fromkeys(POOLS, "1"))
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    try:
        if allowed is None:
            yield None
            return
        core = max(allowed)  # the first ones serve interrupts
        _move({core})
        yield core
    finally:
        if allowed is not None:
            _move(allowed)
        for name, value in asked.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _move(cores: set[int]) -> None:
    os.sched_setaffinity(0, cores)
    for task in _TASKS.iterdir() if _TASKS.is_dir() else ():
        try:
            os.sched_setaffinity(int(task.name), cores)
        except ProcessLookupError:  # it has ended
            continue
