"""Work in a forked child that may be killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable


def in_child(work: Callable[[], None], kill_after: float | None) -> tuple[bool, float]:
    """Return whether the child was killed, and how long it lived."""
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status), time.monotonic() - begun
