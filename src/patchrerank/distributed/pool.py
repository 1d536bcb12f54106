"""Workers of a Ray cluster that tasks are given to, one at a time; one that ends is replaced.

Ray core's actors, not Ray Data: a data set replays what a lost worker had done and writes it twice,
retries a worker that dies without end, and loses a whole block for one picture that raises. Here a
task is what is retried, so often and no more, and what it writes is taken up, not written again.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from patchrerank.distributed.cluster import room
from patchrerank.distributed.options import RayOptions
from patchrerank.errors import GalleryError, short_reason

POLL_SECONDS = 5.0
MOST_ALONE = 900.0
"""Seconds without any worker, until one is given up waiting for."""

logger = logging.getLogger(__name__)


class Job(Protocol):
    """What a worker is given to do; its text says what it is."""

    @property
    def folder(self) -> Path:
        """The shard that it is about."""
        ...

    @property
    def remedy(self) -> str:
        """What to do where it ends its workers."""
        ...


Task = TypeVar("Task", bound=Job)


class Pool(Generic[Task]):
    """Workers; use as a context manager, which ends them.

    Args:
        ray: the module, connected.
        worker: their class: ``load(recipe)`` is called once, ``run(task)`` for each task.
        recipe: what each worker is made with.
        options: how many there are, and what each takes.

    Attributes:
        size: how many workers there are once all have begun.
        chunk: what ``load`` returned: images that are encoded together; 0 until one is ready.
    """

    def __init__(self, ray: Any, worker: type, recipe: object, options: RayOptions) -> None:
        self._ray, self._options = ray, options
        fits = room(ray, options)
        self.size = options.workers or max(1, fits)
        if not fits:
            logger.warning("%s", _no_room(options))
        self._recipe = ray.put(recipe)
        self._make = ray.remote(
            num_cpus=options.cpus_per_worker,
            num_gpus=options.gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )(worker)
        self.chunk = 0
        self._loading: dict[Any, Any] = {}
        self._busy: dict[Any, tuple[Any, Task]] = {}
        self._idle: list[Any] = []
        self._ended = Counter[Any]()
        self._alone_since = time.monotonic()

    def __enter__(self) -> Pool[Task]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self._loading.values(), *(one for one, _ in self._busy.values())):
            self._ray.kill(worker)
        for worker in self._idle:
            self._ray.kill(worker)

    @property
    def ready(self) -> int:
        """How many workers have loaded."""
        return len(self._idle) + len(self._busy)

    def wait(self, workers: int = 1) -> int:
        """Wait until so many workers have loaded; return ``chunk``.

        Raises:
            PatchRerankError: one cannot load, or there is no room for a worker.
        """
        while self.ready < workers:
            self._fill(workers)
            self._step(deque())
        return self.chunk

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Have tasks done; yield them as they end.

        Raises:
            PatchRerankError: one failed; or it ended its worker too often, which names it. What
                others have done until then stays.
        """
        waiting = deque(tasks)
        while waiting or self._busy:
            self._fill(len(waiting) + len(self._busy))
            while waiting and self._idle:
                worker, task = self._idle.pop(), waiting.popleft()
                self._busy[worker.run.remote(task)] = worker, task
            yield from self._step(waiting)

    def _fill(self, wanted: int) -> None:
        """Begin workers, up to the pool's size or what is wanted."""
        for _ in range(min(self.size, wanted) - self.ready - len(self._loading)):
            worker = self._make.remote()
            self._loading[worker.load.remote(self._recipe)] = worker

    def _step(self, waiting: deque[Task]) -> list[tuple[Task, Any]]:
        """Wait for something to end, and take it in."""
        refs = [*self._busy, *self._loading]
        done, _ = self._ray.wait(refs, num_returns=1, timeout=POLL_SECONDS)
        ended = []
        for ref in done:
            if ref in self._loading:
                self._loaded(ref)
            else:
                ended += self._built(ref, waiting)
        self._check_alone()
        return ended

    def _loaded(self, ref: Any) -> None:
        worker = self._loading.pop(ref)
        found, lost = self._result(ref)
        if lost is None:
            self.chunk, self._ended[None] = found, 0
            self._idle.append(worker)
            return
        self._ended[None] += 1
        if self._ended[None] >= self._options.attempts:
            raise GalleryError(
                f"workers ended while they loaded, {self._ended[None]} times one after the other "
                f" ({short_reason(lost)}); look at Ray's logs, and at the memory of the "
                "nodes"
            )

    def _built(self, ref: Any, waiting: deque[Task]) -> list[tuple[Task, Any]]:
        worker, task = self._busy.pop(ref)
        found, lost = self._result(ref)
        if lost is None:
            self._idle.append(worker)
            return [(task, found)]
        self._ray.kill(worker)  # it may be out of reach only
        name = f"{task.folder}: {task}"
        self._ended[name] += 1
        if self._ended[name] >= self._options.attempts:
            raise GalleryError(
                f"{task.folder}: {task} ended its worker {self._ended[name]} times "
                f"({short_reason(lost)}); {task.remedy}"
            )
        logger.warning("%s: its worker ended; another one goes on", task.folder)
        waiting.appendleft(task)
        return []

    def _result(self, ref: Any) -> tuple[Any, Exception | None]:
        """Return what a call returned, or why its worker was lost.

        Raises:
            Exception: what the call raised.
        """
        try:
            return self._ray.get(ref), None
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            return None, error

    def _check_alone(self) -> None:
        now = time.monotonic()
        if self.ready:
            self._alone_since = now
        elif now - self._alone_since > MOST_ALONE:
            raise GalleryError(f"{_no_room(self._options)}; none came in {MOST_ALONE:.0f} s")


def _no_room(options: RayOptions) -> str:
    gpus = f" and {options.gpus_per_worker:g} GPUs" if options.gpus_per_worker else ""
    return (
        f"no node of the Ray cluster has room for a worker of {options.cpus_per_worker:g} CPUs"
        f"{gpus}: give workers less (cpus_per_worker, gpus_per_worker), or add nodes"
    )
