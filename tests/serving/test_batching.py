"""Collecting, and handing to one thread."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from patchrerank.serving.batching import Batcher


def later(seconds=60.0):
    return time.monotonic() + seconds


def batcher(work, collect=0.0, most=8, others=lambda: 8):
    return Batcher(work, "score", collect, most, others, lambda stage, seconds: None)


def test_items_get_their_own_results_and_errors():
    def work(items):
        return [ValueError(item) if item % 3 == 0 else 10 * item for item in items]

    async def run():
        found = batcher(work, collect=0.05)
        return await asyncio.gather(
            *(found.ask(item, later()) for item in range(20)), return_exceptions=True
        )

    for item, result in enumerate(asyncio.run(run())):
        assert isinstance(result, ValueError) if item % 3 == 0 else result == 10 * item


def test_no_batch_is_larger_than_allowed_and_none_is_worked_on_beside_another():
    sizes, at_once = [], []

    def work(items):
        at_once.append(threading.current_thread().name)
        sizes.append(len(items))
        time.sleep(0.002)
        return items

    async def run():
        found = batcher(work, collect=0.01, most=4)
        return await asyncio.gather(*(found.ask(item, later()) for item in range(30)))

    assert asyncio.run(run()) == list(range(30))
    assert max(sizes) == 4
    assert len(set(at_once)) == 1


@pytest.mark.parametrize(
    ("waiting", "others", "sizes"),
    [
        (16, 16, [8, 8]),  # half is worked on while the loop has the other half
        (15, 16, [8, 7]),
        (1, 1, [1]),
        (40, 1, [32, 8]),  # one request of 40 parts: nobody to answer meanwhile
        (40, 9, [32, 5, 3]),
    ],
)
def test_a_batch_leaves_half_of_the_requests_to_the_loop(waiting, others, sizes):
    taken = []

    def work(items):
        taken.append(len(items))
        return items

    async def run():
        found = batcher(work, most=32, others=lambda: others)
        return await asyncio.gather(*(found.ask(item, later()) for item in range(waiting)))

    assert asyncio.run(run()) == list(range(waiting))
    assert taken == sizes


def test_who_gave_up_before_its_turn_costs_nothing():
    seen = []

    def work(items):
        seen.extend(items)
        time.sleep(0.1)
        return items

    async def run():
        found = batcher(work)
        first = asyncio.create_task(found.ask(1, later()))
        await asyncio.sleep(0.02)
        second, third = (
            asyncio.create_task(found.ask(2, later())),
            asyncio.create_task(found.ask(3, later())),
        )
        await asyncio.sleep(0.02)
        second.cancel()
        return await first, await third

    assert asyncio.run(run()) == (1, 3)
    assert seen == [1, 3]


def test_a_work_that_fails_fails_for_all_and_the_next_goes_on():
    def work(items):
        if 1 in items:
            raise RuntimeError("broken")
        return items

    async def run():
        found = batcher(work)
        with pytest.raises(RuntimeError, match="broken"):
            await found.ask(1, later())
        return await found.ask(2, later())

    assert asyncio.run(run()) == 2


def test_it_waits_no_longer_than_it_was_told():
    async def run():
        found = batcher(lambda items: items, collect=0.05)
        begun = time.perf_counter()
        await found.ask(1, later())
        waited = time.perf_counter() - begun
        alone = batcher(lambda items: items, collect=5, others=lambda: 1)
        await alone.ask(1, later())
        return waited, time.perf_counter() - begun

    waited, both = asyncio.run(run())
    assert 0.04 < waited < 1
    assert both < 3


def test_each_waits_until_its_own_time():
    free, seen = threading.Event(), []

    def work(items):
        seen.extend(items)
        assert free.wait(10)
        return items

    async def timed(found, item, seconds):
        begun = time.perf_counter()
        with pytest.raises(TimeoutError):
            await found.ask(item, later(seconds))
        return time.perf_counter() - begun

    async def run():
        found = batcher(work)
        patient = asyncio.create_task(found.ask(1, later()))
        await asyncio.sleep(0.02)  # it is worked on; the others wait behind it, the latest first
        spent = await asyncio.gather(*(timed(found, 9, each) for each in (0.2, 0.1, 0.15, -1)))
        free.set()
        return await patient, await found.ask(2, later()), spent

    first, second, spent = asyncio.run(run())
    assert (first, second, seen) == (1, 2, [1, 2])
    for found, told in zip(spent, (0.2, 0.1, 0.15, 0), strict=True):
        assert told - 0.01 < found < told + 1


def test_who_leaves_before_its_time_is_forgotten():
    async def run():
        found = batcher(lambda items: time.sleep(0.05) or items)
        gone = asyncio.create_task(found.ask(1, later(0.03)))
        await asyncio.sleep(0)
        gone.cancel()
        return await found.ask(2, later()), len(found._deadlines._until)

    assert asyncio.run(run()) == (2, 0)
