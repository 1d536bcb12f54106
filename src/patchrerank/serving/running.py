"""A server that stops without losing a request."""

from __future__ import annotations

import asyncio
import gc
import logging
import selectors
import socket
from collections.abc import Callable, Sequence
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

PAUSE, ROUNDS = 0.01, 100
"""Seconds in which what came before the end is taken up, and how often that is looked at."""

KEEP_ALIVE = 30
BACKLOG = 512
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(app: Any, host: str, port: int, started: Callable[[str], None]) -> None:
    """Run an application of :func:`patchrerank.serving.app.make_app` until a signal comes.

    SIGTERM and SIGINT end it: connections that clients have by then are taken, no other is accepted
    any more; those that are open are closed behind their next answer, or once they were idle for a
    second; what was sent by then is answered. With none open it ends at once, as it does at a
    second signal.
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

        def drain(self, left: int = ROUNDS) -> None:
            if left and came([listener]):  # connected by the kernel: to close now would reset them
                loop.call_later(PAUSE, self.drain, left - 1)
                return
            for server in self.servers:
                server.close()
            loop.call_later(DRAIN, self.stop)
            loop.call_later(LOOK, self.stop_alone)

        def stop_alone(self) -> None:
            if self.server_state.connections:
                loop.call_later(LOOK, self.stop_alone)
            else:
                self.stop()

        def stop(self) -> None:
            self.should_exit = True

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for _ in range(ROUNDS):  # a request that nobody has read yet is no idle connection
                if self.force_exit or not came(self.idle()):
                    break
                await asyncio.sleep(PAUSE)
            await super().shutdown(sockets)

        def idle(self) -> list[Any]:
            held: list[Any] = [
                one for one in self.server_state.connections if hasattr(one, "cycle")
            ]
            quiet = [one for one in held if one.cycle is None or one.cycle.response_complete]
            return [one.transport.get_extra_info("socket") for one in quiet]

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


def came(sockets: Sequence[Any]) -> bool:
    """Tell whether a connection, or bytes, came to any of these sockets that nobody took yet."""
    with selectors.DefaultSelector() as selector:
        for one in sockets:
            if one is not None and one.fileno() >= 0:
                selector.register(one.fileno(), selectors.EVENT_READ)
        return bool(selector.get_map()) and bool(selector.select(0))


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
