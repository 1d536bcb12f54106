"""Galleries and recipes that change while a service runs are opened anew by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from patchrerank.errors import PatchRerankError
from patchrerank.serving.service import Service

logger = logging.getLogger(__name__)


@asynccontextmanager
async def watching(service: Service, poll: float) -> AsyncIterator[None]:
    """Reload a service's engine when its files change, or on ``SIGHUP``, as long as it lives.

    Args:
        service: whose engine.
        poll: seconds between two looks; 0: only ``SIGHUP`` counts.
    """
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    with contextlib.suppress(ValueError, NotImplementedError, AttributeError, RuntimeError):
        loop.add_signal_handler(signal.SIGHUP, asked.set)  # not on Windows, nor in other threads
    task = asyncio.create_task(_watch(service, poll, asked))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _watch(service: Service, poll: float, asked: asyncio.Event) -> None:
    failed = None
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), poll or None)
        now = service.engine.on_disk
        if not asked.is_set() and (now == service.engine.current.stamp or now == failed):
            continue
        asked.clear()
        failed = None if await _reloaded(service) else now


async def _reloaded(service: Service) -> bool:
    try:
        found = await asyncio.to_thread(service.engine.reload)
    except PatchRerankError as error:
        logger.warning("what changed cannot be used, the old one stays: %s", error)
        service.metrics.reloaded("failed")
        return False
    logger.info("opened anew: %r", found.gallery)
    service.metrics.reloaded("ok")
    return True
