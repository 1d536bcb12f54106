"""Working ahead: the next chunk is prepared while this one is in the network, or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")


def chunks_ahead(
    items: Iterator[Item], size: int, submit: Callable[[Item], Future[Result]]
) -> Iterator[list[tuple[Item, Future[Result]]]]:
    """Yield chunks of ``size`` items with their futures, always one chunk submitted ahead.

    Where the items end in an error, the chunk before is yielded first.
    """

    def take() -> list[tuple[Item, Future[Result]]]:
        return [(item, submit(item)) for item in islice(items, size)]

    waiting = take()
    while waiting:
        ready = waiting
        try:
            waiting = take()
        except Exception:
            yield ready
            raise
        yield ready


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield items; the next one is made in a thread meanwhile."""
    nothing = object()
    with ThreadPoolExecutor(1) as pool:
        coming: Future[Item | object] = pool.submit(next, items, nothing)
        while (item := coming.result()) is not nothing:
            coming = pool.submit(next, items, nothing)
            yield cast("Item", item)
