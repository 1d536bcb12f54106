"""The bytes of requests, within bounds; and clients that leave."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from patchrerank.serving.refusals import RequestError
from patchrerank.serving.settings import ServiceSettings

if TYPE_CHECKING:
    from starlette.requests import Request

Found = TypeVar("Found")

GONE = 499
"""The status that logs have where a client left before its answer."""


PATIENCE = 0.02
"""Seconds after which somebody looks whether the client is still there."""


async def read_bytes(request: Request, settings: ServiceSettings) -> bytearray:
    """Return the body of a request, counted as it comes, whatever its headers say.

    Raises:
        RequestError: it is too long, too slow, or the client left.
    """
    from starlette.requests import ClientDisconnect

    most, body = settings.max_body, bytearray()
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > most:
        raise _too_long(most)
    try:
        async with asyncio.timeout(settings.read_timeout):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise _too_long(most)
    except TimeoutError:
        raise RequestError("the request did not arrive in time", 408) from None
    except ClientDisconnect:
        raise RequestError("the client left", GONE) from None
    return body


async def unless_gone(request: Request, work: Coroutine[Any, Any, Found]) -> Found:
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
        watching.add(task := loop.create_task(_left(request)))
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


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _too_long(most: int) -> RequestError:
    return RequestError(f"the request has more than {most} bytes, which is the limit here", 413)
