"""Requests that are waiting at the same time are worked on together, on a thread of their own.

What is done sooner than a thread is woken is done at once, where it is.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeAlias, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")
Work: TypeAlias = Callable[[Sequence[Item]], Sequence[Found | Exception]]
Observe: TypeAlias = Callable[[str, float], None]

STEP = 0.0005
"""Seconds between two looks at who has come."""
QUICK = 0.001
"""Seconds of work for which no thread is woken and nobody is waited for: both would take longer."""
TRUSTED = 16
"""How many batches in a row must have been as fast as that: a disk may be cold, a stage slow."""


class Batcher(Generic[Item, Found]):
    """Collects items for a moment and hands them to one thread; meanwhile the next ones wait.

    Who stopped waiting before work began (a deadline, a client that left) is left out. Work that
    should take less than :data:`QUICK`, by the slowest of the last :data:`TRUSTED` batches, is done
    on the event loop's own thread, without waiting for others.

    Args:
        work: from items to what was found for each, or why it failed.
        name: of the work, for ``observe``.
        collect: seconds for which the first item waits for others.
        most: items that are worked on at once.
        others: how many requests there are that might still come; with none, nobody waits.
        observe: is told seconds: of waiting (``wait``), and of the work of a batch (its name).
        size: how much work an item is, in any unit; work is as long as the items are large.
    """

    def __init__(
        self,
        work: Work[Item, Found],
        name: str,
        collect: float,
        most: int,
        others: Callable[[], int],
        observe: Observe,
        size: Callable[[Item], float] = lambda item: 1,
    ) -> None:
        self._work, self._name, self._observe = work, name, observe
        self._size = size
        self._paces = deque([math.inf] * TRUSTED, TRUSTED)  # of batches, seconds for a size of 1
        self._collect, self._most, self._others = collect, most, others
        self._waiting: deque[tuple[Item, asyncio.Future[Found], float]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"patchrerank-{name}")
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def ask(self, item: Item) -> Found:
        """Return what is found for an item, or raise why it failed."""
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future, time.perf_counter()))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await future

    def close(self) -> None:
        """Let the thread end when it has done what it has."""
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        while self._waiting:
            await self._gather()
            batch = self._taken()
            if not batch:
                continue
            items = [item for item, _ in batch]
            begun = time.perf_counter()
            try:
                found = await self._worked(items)
            except Exception as error:  # of the work itself: nobody may wait for ever
                found = [error] * len(batch)
            spent = time.perf_counter() - begun
            self._paces.append(spent / max(sum(map(self._size, items)), 1))
            self._observe(self._name, spent)
            for (_, future), each in zip(batch, found, strict=True):
                _settle(future, each)

    async def _worked(self, items: list[Item]) -> Sequence[Found | Exception]:
        if self._is_quick(items):
            return self._work(items)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, items)

    def _is_quick(self, items: Iterable[Item]) -> bool:
        return max(self._paces) * sum(map(self._size, items)) < QUICK

    async def _gather(self) -> None:
        until = self._waiting[0][2] + self._collect
        while len(self._waiting) < min(self._most, self._others()):
            if self._is_quick(item for item, _, _ in self._waiting):
                return
            left = until - time.perf_counter()
            if left <= 0:
                return
            await asyncio.sleep(min(left, STEP))

    def _taken(self) -> list[tuple[Item, asyncio.Future[Found]]]:
        taken: list[tuple[Item, asyncio.Future[Found]]] = []
        now = time.perf_counter()
        while self._waiting and len(taken) < self._most:
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
