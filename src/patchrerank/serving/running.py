"""A server that stops without losing a request."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

from patchrerank.errors import MissingExtraError, SettingError
from patchrerank.records import check_within
from patchrerank.serving.service import Service
from patchrerank.serving.thinned_log import ThinnedLog

DRAIN = 1.0
"""Seconds for which open connections are still answered, and then closed, after a signal."""

LOOK = 0.05
"""Seconds until it is seen that none is open any more."""

KEEP_ALIVE = 30
BACKLOG = 512
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(app: Any, host: str, port: int, started: Callable[[str], None]) -> None:
    """Run an application of :func:`patchrerank.serving.app.make_app` until a signal comes.

    SIGTERM and SIGINT end it: no connection is accepted any more, those that are open are closed
    behind their next answer, and what was begun is answered. With none open it ends at once, as it
    does at a second signal.
    What the process logs is thinned: see :class:`patchrerank.serving.thinned_log.ThinnedLog`.

    Args:
        app: the application.
        host: the address to listen at.
        port: the port; 0: any that is free.
        started: is told the service's address once it listens.

    Raises:
        SettingError: the address cannot be listened at.
        MissingExtraError: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError(
            "a service needs uvicorn: pip install 'patchrerank[serve]'"
        ) from error
    service: Service = app.state.service

    class Server(uvicorn.Server):
        """Drains before it shuts down."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started(address_of(listener))

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if service.draining:
                self.should_exit = self.force_exit = True
                return
            service.draining = True
            loop.call_soon_threadsafe(self.drain)

        def drain(self) -> None:
            for server in self.servers:
                server.close()
            loop.call_later(DRAIN, self.stop)
            loop.call_later(LOOK, self.stop_alone)

        def stop_alone(self) -> None:
            if not self.server_state.connections:
                self.stop()
            loop.call_later(LOOK, self.stop_alone)

        def stop(self) -> None:
            self.should_exit = True

    listener = listening(host, port)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE,
        backlog=BACKLOG,
    )
    loop = (config.get_loop_factory() or asyncio.new_event_loop)()
    for handler in logging.getLogger().handlers:
        handler.addFilter(ThinnedLog())
    gc.collect()
    gc.freeze()  # what is loaded stays: nobody looks through it again while requests wait
    try:
        loop.run_until_complete(Server(config).serve([listener]))
    finally:
        gc.unfreeze()
        loop.close()
        listener.close()


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound.

    Raises:
        SettingError: there is no such address here, or somebody else listens at it.
    """
    check_within(0, 65_535, port=port)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingError(
            f"--host {host} --port {port}: cannot be listened at ({reason})"
        ) from error
    return found


def address_of(listener: socket.socket) -> str:
    """Return the address that clients use, as ``http://127.0.0.1:8080``."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
