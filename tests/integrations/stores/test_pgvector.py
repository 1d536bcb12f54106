from __future__ import annotations

import itertools

import numpy as np
import pytest

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("pgvector")

from tests.helpers.postgres import postgres

from patchrerank.errors import GalleryError, SettingError
from patchrerank.integrations.stores.pgvector import PgVectorStore
from patchrerank.testing.made_galleries import made_gallery, made_queries
from patchrerank.testing.stores import StoreConformance

NAMES = itertools.count()


@pytest.fixture(scope="module")
def server():
    with postgres() as uri:
        yield uri


@pytest.fixture(autouse=True)
def _known(server, request):
    if request.cls is not None:
        request.cls.server = server


class TestPgVector(StoreConformance):
    @pytest.fixture(scope="class")
    def store(self, gallery, server, tmp_path_factory):
        type(self).server = server
        with self.opened(tmp_path_factory.mktemp("store")) as store:
            pushed = store.push(gallery, progress=False)
            assert pushed.written == len(gallery)
            yield store

    def open(self, place):
        return PgVectorStore(psycopg.connect(self.server), f"images{next(NAMES)}")

    def shut(self, store):
        store._connection.close()


@pytest.fixture
def connection(server):
    with psycopg.connect(server) as connection:
        yield connection


def test_an_index_changes_nothing(connection, tmp_path):
    store = PgVectorStore(connection, "public.Indexed")
    gallery = made_gallery(tmp_path / "gallery")
    store.push(gallery, progress=False)
    first = store.search(made_queries(), 5)
    store._run("CREATE INDEX ON {table} USING hnsw (vector vector_cosine_ops)")
    store._run("SET hnsw.ef_search = 1")
    store._run("SET enable_seqscan = off")
    again = store.search(made_queries(), 5)
    assert again.rows.shape == (4, 5)
    np.testing.assert_allclose(again.scores, first.scores, atol=1e-6)


def test_another_connection_sees_what_was_pushed(server, connection, tmp_path):
    PgVectorStore(connection, "shared").push(made_gallery(tmp_path / "gallery"), progress=False)
    with psycopg.connect(server) as other:
        assert PgVectorStore(other, "shared").search(made_queries(), 5).rows.shape == (4, 5)


def test_a_strangers_table_is_left_alone(connection, tmp_path):
    connection.execute("CREATE TABLE theirs (id int)")
    with pytest.raises(GalleryError, match="not made by patchrerank"):
        PgVectorStore(connection, "theirs").push(made_gallery(tmp_path / "gallery"), progress=False)


def test_a_database_without_pgvector_is_named(server):
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE bare")
    with (
        psycopg.connect(server, dbname="bare") as bare,
        pytest.raises(SettingError, match="CREATE EXTENSION vector"),
    ):
        PgVectorStore(bare, "images")


def test_ids_that_postgresql_cannot_hold_are_not_there(connection, tmp_path):
    store = PgVectorStore(connection, "nul")
    store.push(made_gallery(tmp_path / "gallery"), progress=False)
    assert store.held(["0", "a\0b"]) == {"0"}
