"""Warnings that requests cause, once a minute and not once a request."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

MINUTE = 60.0
OF_REQUESTS = ("patchrerank.rerankers.", "patchrerank.types.", "patchrerank.serving.posts")
"""Loggers that are told something by each request."""


class ThinnedLog(logging.Filter):
    """Lets a warning pass once a minute, with how many like it were left out since; for handlers.

    Two are alike if they have one wording; numbers and names in it may differ.
    """

    def __init__(self) -> None:
        super().__init__()
        self._again: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is written."""
        if record.levelno != logging.WARNING or not record.name.startswith(OF_REQUESTS):
            return True
        wording = record.getMessage() if record.msg == "%s" else str(record.msg)
        with self._lock:
            now = time.monotonic()
            if now < self._again.get(wording, now):
                self._left_out[wording] += 1
                return False
            self._again[wording] = now + MINUTE
            count = self._left_out.pop(wording, 0)
        if count:
            record.msg, record.args = f"{record.getMessage()} ({count} more like it)", ()
        return True
