"""Services that run: in a thread of this process, or as the command line starts them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import sys
import threading
import time
import traceback
import warnings
from types import SimpleNamespace

import httpx
import uvicorn.server

from patchrerank.serving.app import make_app
from prepared import start


async def _briefly(delay):
    await asyncio.sleep(min(delay, 0.01))


# uvicorn looks ten times a second whether it shall stop, and waits as long before it has
uvicorn.server.asyncio = SimpleNamespace(**{**vars(asyncio), "sleep": _briefly})


class Served:
    """A service on loopback, in a thread."""

    def __init__(self, engine, settings=None, **options):
        self.app = make_app(engine, settings, **options)
        self.service = self.app.state.service
        config = uvicorn.Config(self.app, port=0, log_level="critical", lifespan="on")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()), daemon=True)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def client(self, **options):
        return httpx.Client(base_url=self.url, timeout=30, **options)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(10)
        if self.thread.is_alive():  # how the product stops is tested where it runs by itself
            where = "".join(traceback.format_stack(sys._current_frames()[self.thread.ident]))
            warnings.warn(f"{vars(self.server.server_state)}\n{where}", stacklevel=2)
            self.server.force_exit = True
            self.thread.join(10)


@contextlib.contextmanager
def served(engine, settings=None, **options):
    running = Served(engine, settings, **options)
    try:
        yield running
    finally:
        running.stop()


@contextlib.contextmanager
def served_process(gallery, *words, name="serve", begun=("-m", "patchrerank.cli.main")):
    """Start ``patchrerank serve``; give the process and its address."""
    process = start(*begun, name, gallery, "--port", 0, "--json", *words)
    try:
        text = ""
        while not text.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            text += line
        yield process, json.loads(text)["address"]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def uri(picture, kind="PNG"):
    """A picture as a data URI."""
    file = io.BytesIO()
    picture.save(file, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
