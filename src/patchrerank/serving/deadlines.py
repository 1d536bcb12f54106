"""Waiting no longer than until a time, with one timer for all who wait."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any, TypeVar

Found = TypeVar("Found")


class Deadlines:
    """Ends the waiting for futures of one event loop, each at its own time.

    ``asyncio.timeout`` sets a timer for each and takes it back, thousands of times a second for
    what hardly ever happens.
    """

    def __init__(self) -> None:
        self._until: dict[asyncio.Future[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = math.inf

    async def waited(self, future: asyncio.Future[Found], until: float) -> Found:
        """Return a future's result.

        Args:
            future: that nobody else waits for.
            until: as ``time.monotonic()`` counts.

        Raises:
            TimeoutError: there was none until then; the future is done by that.
        """
        self._until[future] = until
        if until < self._next:
            self._look_at(until)
        try:
            return await future
        finally:
            del self._until[future]

    def _look_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        left = max(0.0, moment - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(left, self._look)
        self._next = moment

    def _look(self) -> None:
        now, self._timer, self._next = time.monotonic(), None, math.inf
        waiting = {future: until for future, until in self._until.items() if not future.done()}
        for future in [future for future, until in waiting.items() if until <= now]:
            future.set_exception(TimeoutError())
            del waiting[future]
        if waiting:
            self._look_at(min(waiting.values()))
