"""Who may ask: tokens, names of the machine, and pages of other sites."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias

from patchrerank.serving.json_bodies import written
from patchrerank.serving.service import Service

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/healthz", "/readyz")
"""What anybody may ask: whether the service lives."""

LOCAL = ("localhost", "127.0.0.1", "[::1]")

HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))


class Guard:
    """Lets a request through to an application, or refuses it; closes connections when draining.

    Args:
        app: any ASGI application.
        service: whose token and names count.
        pages: addresses of pages, which hold nothing and are given without a token.
    """

    def __init__(self, app: App, service: Service, pages: Callable[[str], bool]) -> None:
        self._app, self._service, self._pages = app, service, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        refused = self._refused(scope["path"], headers)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                closing = ((b"connection", b"close"),) if self._service.draining else ()
                message["headers"] = [*message.get("headers", ()), *HEADERS, *closing]
            await send(message)

        if refused is None:
            await self._app(scope, receive, sent)
        else:
            status, detail = refused
            asking = ((b"www-authenticate", b"Bearer"),) if status == 401 else ()
            await reply(sent, status, written({"detail": detail}), asking)

    def _refused(self, path: str, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._service.settings.local_names_only and _name(host) not in LOCAL:
            return 421, "this service answers to localhost only; start it with --host or --token"
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and origin.partition("://")[2] != host:
            return 403, "pages of other sites may not use this service"
        if self._is_known(headers) or path in OPEN or self._pages(path):
            return None
        return 401, "send the token of this service: Authorization: Bearer …"

    def _is_known(self, headers: Mapping[bytes, bytes]) -> bool:
        token = self._service.settings.token
        if not token:
            return True
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), token.encode())


def _name(host: str) -> str:
    """Return a ``Host`` header without its port."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


async def reply(
    send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Send an answer in JSON."""
    own = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})
