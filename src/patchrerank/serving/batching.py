"""Requests that are waiting at the same time are worked on together, on a thread of their own."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeAlias, TypeVar

from patchrerank.serving.deadlines import Deadlines

Item = TypeVar("Item")
Found = TypeVar("Found")
Work: TypeAlias = Callable[[Sequence[Item]], Sequence[Found | Exception]]
Observe: TypeAlias = Callable[[str, float], None]

STEP = 0.0005
"""Seconds between two looks at who has come."""

HANDOVER = 0.0002
"""Seconds for which the loop stands still behind a batch while there are others: the thread takes
the interpreter's lock meanwhile, which it would get else when the loop has nothing left to do."""


class Batcher(Generic[Item, Found]):
    """Collects items for a moment and hands them to one thread; meanwhile the next ones wait.

    A batch leaves half of all requests that there are, if so many wait: while it is worked on, the
    loop answers those of the last one, and reads what they are followed by. Who stopped waiting
    before work began (a deadline, a client that left) is left out.

    Args:
        work: from items to what was found for each, or why it failed.
        name: of the work, for ``observe``.
        collect: seconds for which the first item waits for others.
        most: items that are worked on at once.
        others: how many requests there are that might still come; with none, nobody waits.
        observe: is told seconds: of waiting (``wait``), and of the work of a batch (its name).
    """

    def __init__(
        self,
        work: Work[Item, Found],
        name: str,
        collect: float,
        most: int,
        others: Callable[[], int],
        observe: Observe,
    ) -> None:
        self._work, self._name, self._observe = work, name, observe
        self._collect, self._most, self._others = collect, most, others
        self._waiting: deque[tuple[Item, asyncio.Future[Found], float]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"patchrerank-{name}")
        self._task: asyncio.Task[None] | None = None
        self._deadlines = Deadlines()

    def __len__(self) -> int:
        return len(self._waiting)

    async def ask(self, item: Item, until: float) -> Found:
        """Return what is found for an item, or raise why it failed.

        Args:
            item: to work on.
            until: when, as ``time.monotonic()`` counts, nobody waits any longer.

        Raises:
            TimeoutError: nothing was found until then.
        """
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future, time.perf_counter()))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await self._deadlines.waited(future, until)

    def close(self) -> None:
        """Let the thread end when it has done what it has."""
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await self._gather()
            batch = self._taken()
            if not batch:
                continue
            begun = time.perf_counter()
            try:
                doing = loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
                if self._others() > 1:
                    time.sleep(HANDOVER)
                found = await doing
            except Exception as error:  # of the work itself: nobody may wait for ever
                found = [error] * len(batch)
            self._observe(self._name, time.perf_counter() - begun)
            for (_, future), each in zip(batch, found, strict=True):
                _settle(future, each)

    async def _gather(self) -> None:
        until = self._waiting[0][2] + self._collect
        while len(self._waiting) < min(self._most, -(-self._others() // 2)):
            left = until - time.perf_counter()
            if left <= 0:
                return
            await asyncio.sleep(min(left, STEP))

    def _taken(self) -> list[tuple[Item, asyncio.Future[Found]]]:
        taken: list[tuple[Item, asyncio.Future[Found]]] = []
        now = time.perf_counter()
        half = self._others() // 2
        share = min(self._most, max(self._others() - half, len(self._waiting) - half))
        while self._waiting and len(taken) < share:
            item, future, came = self._waiting.popleft()
            self._observe("wait", now - came)
            if not future.done():
                taken.append((item, future))
        return taken


def _settle(future: asyncio.Future[Found], found: Found | Exception) -> None:
    if future.done():
        return
    if isinstance(found, Exception):
        future.set_exception(found)
    else:
        future.set_result(found)
