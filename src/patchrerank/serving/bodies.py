"""The bytes of requests, within bounds; and clients that leave."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from patchrerank.serving.guard import Receive, Scope
from patchrerank.serving.refusals import RequestError
from patchrerank.serving.settings import ServiceSettings

Found = TypeVar("Found")

GONE = 499
"""The status that logs have where a client left before its answer."""


PATIENCE = 0.02
"""Seconds after which somebody looks whether the client is still there."""


async def read_bytes(scope: Scope, receive: Receive, settings: ServiceSettings) -> bytearray:
    """Return the body of a request, counted as it comes, whatever its headers say.

    Raises:
        RequestError: it is too long, too slow, or the client left.
    """
    most, body, more = settings.max_body, bytearray(), True
    declared = dict(scope["headers"]).get(b"content-length", b"")
    if declared.isdigit() and int(declared) > most:
        raise _too_long(most)
    try:
        async with asyncio.timeout(settings.read_timeout):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestError("the client left", GONE)
                body += message.get("body", b"")
                if len(body) > most:
                    raise _too_long(most)
                more = message.get("more_body", False)
    except TimeoutError:
        raise RequestError("the request did not arrive in time", 408) from None
    return body


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, Found]) -> Found:
    """Return what ``work`` returns; it is cancelled when the client leaves.

    Nobody looks whether it has, as long as work takes no longer than ``PATIENCE``.

    Raises:
        RequestError: it left.
    """
    doing = asyncio.current_task()
    assert doing is not None, "requests are answered in tasks"
    loop, watching, left = asyncio.get_running_loop(), set[asyncio.Task[None]](), False

    def leave(task: asyncio.Task[None]) -> None:
        nonlocal left
        if not task.cancelled():
            left = doing.cancel()

    def watch() -> None:
        watching.add(task := loop.create_task(_left(receive)))
        task.add_done_callback(leave)

    timer = loop.call_later(PATIENCE, watch)
    try:
        return await work
    except asyncio.CancelledError:
        if not left:
            raise
        doing.uncancel()
        raise RequestError("the client left", GONE) from None
    finally:
        timer.cancel()
        for task in watching:
            task.remove_done_callback(leave)
            task.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _too_long(most: int) -> RequestError:
    return RequestError(f"the request has more than {most} bytes, which is the limit here", 413)
