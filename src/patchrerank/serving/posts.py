"""Requests with a body, in plain ASGI: they come by the thousand, and past all other routes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, TypeAlias

from patchrerank.errors import PatchRerankError
from patchrerank.serving.bodies import read_bytes, unless_gone
from patchrerank.serving.guard import App, Receive, Scope, Send, reply
from patchrerank.serving.json_bodies import read_body, written
from patchrerank.serving.refusals import public_words, status_of
from patchrerank.serving.service import Service

Work: TypeAlias = Callable[[Service, Mapping[str, Any]], Coroutine[Any, Any, str]]

LARGE = 1 << 17
"""Bytes of a body that is read on another thread, for others not to wait."""

logger = logging.getLogger(__name__)


class Reply(NamedTuple):
    """An answer in JSON.

    Attributes:
        status: of HTTP.
        body: JSON.
        retry_after: seconds; None: nobody need come again.
    """

    status: int
    body: bytes
    retry_after: int | None = None


class Posted:
    """Reads a body, has it answered, and counts; handles all errors.

    Args:
        service: that answers.
        route: as it is counted.
        work: from JSON to JSON.
    """

    def __init__(self, service: Service, route: str, work: Work) -> None:
        self._service, self._route, self._work = service, route, work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun = time.perf_counter()
        made = await _answered(self._service, self._work, scope, receive)
        took = time.perf_counter() - begun
        self._service.metrics.answered(self._route, made.status, took)
        after = made.retry_after
        more = () if after is None else ((b"retry-after", b"%d" % after),)
        await reply(send, made.status, made.body, more)


class Posts:
    """Lets what is posted to some addresses by the routes of an application.

    Args:
        app: any ASGI application.
        posts: what answers at which address.
    """

    def __init__(self, app: App, posts: Mapping[str, Posted]) -> None:
        self._app, self._posts = app, posts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        known = scope["type"] == "http" and scope["method"] == "POST"
        found = self._posts.get(scope["path"]) if known else None
        await (found or self._app)(scope, receive, send)


def refusal(service: Service, error: PatchRerankError) -> Reply:
    """Return what a request is told that is not answered."""
    status = status_of(error)
    if status >= 500:
        logger.warning("%s", error)
    body = written({"detail": public_words(error, service.engine.files)})
    return Reply(status, body, getattr(error, "retry_after", None))


async def _answered(service: Service, work: Work, scope: Scope, receive: Receive) -> Reply:
    begun = time.perf_counter()
    try:
        with service.admitted():
            body = await read_bytes(scope, receive, service.settings)
            large = len(body) > LARGE
            asked = await asyncio.to_thread(read_body, body) if large else read_body(body)
            service.metrics.spent("read", time.perf_counter() - begun)
            found = await unless_gone(receive, work(service, asked))
            return Reply(200, found.encode())
    except PatchRerankError as error:
        return refusal(service, error)
    except Exception:
        logger.exception("a request failed")
        return Reply(500, written({"detail": "the service failed; its log says why"}))
