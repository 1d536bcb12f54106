"""Stores that workers open by themselves: of servers, and ones that end their process or fail."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from patchrerank.integrations.stores import records


def postgres_store(uri: str, name: str) -> Any:
    """A table of PostgreSQL's, whose writes are small."""
    import psycopg

    from patchrerank.integrations.stores.pgvector import PgVectorStore

    records.BATCH_BYTES = 600
    return PgVectorStore(psycopg.connect(uri, autocommit=True), name)


def dying_store(uri: str, name: str, notes: Path, times: int) -> Any:
    """One that kills its process behind its second write, so many times over all processes."""
    store, calls = postgres_store(uri, name), []
    write = store._write

    def killing(some: Any) -> None:
        write(some)
        calls.append(len(some))
        if len(calls) == 2 and len(list(notes.iterdir())) < times:
            (notes / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    store._write = killing
    return store


def failing_store(uri: str, name: str) -> Any:
    """One that does not take images."""
    store = postgres_store(uri, name)

    def fail(some: Any) -> None:
        raise RuntimeError("no room")

    store._write = fail
    return store


def chroma_store(port: int, name: str) -> Any:
    """A collection of a server of Chroma's."""
    import chromadb

    from patchrerank.integrations.stores.chroma import ChromaStore

    return ChromaStore(chromadb.HttpClient("127.0.0.1", port), name)
