"""PostgreSQL with pgvector (extra ``pgvector``).

Run with PostgreSQL 18.4, pgvector 0.8.5, psycopg 3.3 and pgvector-python 0.5.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from patchrerank.errors import GalleryError, SettingError, short_reason
from patchrerank.integrations.extras import of_extra
from patchrerank.integrations.stores.records import Record
from patchrerank.integrations.stores.store import VectorStore
from patchrerank.types import Floats

WIDEST = 16_000
"""Dimensions that pgvector's type takes."""

MARK = "patchrerank: "
"""Before the space in a table's comment."""


class PgVectorStore(VectorStore):
    """A table: ``key``, ``digest``, ``vector``, ``patches vector[]``, ``boxes real[]`` …

    What is said of all of it stands in the table's comment and in a table ``NAME_notes``.
    All searches are exact: they sort by an expression that no HNSW or IVFFlat index serves, since
    with one ``LIMIT 100`` returns 40 rows. Each call is a transaction of its own; inside one of
    yours, yours decides.

    Args:
        connection: of ``psycopg.connect(…)``.
        table: its name, or ``schema.name``; made by the first push.

    Raises:
        MissingExtraError: psycopg or pgvector is not installed.
        SettingError: the database lacks the extension ``vector``.
    """

    def __init__(self, connection: Any, table: str) -> None:
        with of_extra("pgvector", "psycopg"):
            from psycopg import ProgrammingError, sql
        with of_extra("pgvector", "pgvector"):
            from pgvector.psycopg import register_vector

        self._connection, self._name, self._sql = connection, table, sql
        self._lock = threading.RLock()  # transactions of one connection must not interleave
        *schema, own = table.split(".")
        self._table = sql.Identifier(*schema, own)
        self._notes = sql.Identifier(*schema, f"{own}_notes")
        self.name = f"pgvector:{table}"
        try:
            register_vector(connection)
        except ProgrammingError as error:
            raise SettingError(
                f"{self.name}: the database has no pgvector ({short_reason(error)}); run "
                "CREATE EXTENSION vector"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """Give a cursor that reads vectors as bytes; as text they take ten times as long."""
        connection = self._connection
        with self._lock, connection.transaction(), connection.cursor(binary=True) as cursor:
            yield cursor

    def _run(self, statement: str, given: Sequence[Any] = ()) -> list[Any]:
        """Run a statement, ``{table}`` and ``{notes}`` in it, and return its rows."""
        query = self._sql.SQL(statement).format(table=self._table, notes=self._notes)
        with self._transaction() as cursor:
            cursor.execute(query, given)
            return [] if cursor.description is None else list(cursor.fetchall())

    def _read_space(self) -> str | None:
        quoted = self._table.as_string(self._connection)
        found = self._run(
            "SELECT to_regclass(%s), obj_description(to_regclass(%s)::oid, 'pg_class')",
            [quoted, quoted],
        )
        there, comment = found[0]
        if there is None:
            return None
        if not str(comment).startswith(MARK):
            raise GalleryError(f"{self.name}: not made by patchrerank; push into another name")
        return str(comment).removeprefix(MARK)

    def _create(self, text: str, dim: int) -> None:
        if dim > WIDEST:
            raise SettingError(f"{self.name}: pgvector takes {WIDEST} dimensions, not {dim}")
        with self._transaction():
            self._run(
                "CREATE TABLE {table} (key text PRIMARY KEY, digest bigint NOT NULL, "
                f"vector vector({dim}) NOT NULL, patches vector({dim})[] NOT NULL, "
                "boxes real[] NOT NULL, width int NOT NULL, height int NOT NULL, local bytea)"
            )
            self._run("CREATE TABLE {notes} (name text PRIMARY KEY, text text NOT NULL)")
            for column in ("patches", "local"):
                self._run(f"ALTER TABLE {{table}} ALTER {column} SET STORAGE EXTERNAL")
            comment = self._sql.Literal(MARK + text).as_string(self._connection)
            self._run(
                "COMMENT ON TABLE {table} IS " + comment.replace("{", "{{").replace("}", "}}")
            )

    def _keep(self, notes: Mapping[str, str]) -> None:
        statement = self._sql.SQL(
            "INSERT INTO {notes} VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET text = "
            "excluded.text"
        ).format(notes=self._notes)
        with self._transaction() as cursor:
            cursor.executemany(statement, list(notes.items()))

    def _kept(self, names: Sequence[str]) -> dict[str, str]:
        found = self._run("SELECT name, text FROM {notes} WHERE name = ANY(%s)", [list(names)])
        return dict(found)

    def _digests(self) -> Iterator[tuple[str, int]]:
        yield from self._run("SELECT key, digest FROM {table}")

    def _write(self, records: Sequence[Record]) -> None:
        from pgvector import Vector

        for record in records:
            if "\0" in record.key:
                raise SettingError(f"{self.name}: PostgreSQL takes no NUL in {record.key!r}")
        rows = [
            (
                record.key,
                record.digest,
                Vector(record.vector),
                [Vector(patch) for patch in record.patches],
                record.boxes.ravel().tolist(),
                *record.size,
                record.local,
            )
            for record in records
        ]
        statement = self._sql.SQL(
            "INSERT INTO {table} VALUES (%s, %s, %s, %s::vector[], %s::real[], %s, %s, %s) "
            "ON CONFLICT (key) DO UPDATE SET "
            "(digest, vector, patches, boxes, width, height, local) = "
            "(excluded.digest, excluded.vector, excluded.patches, excluded.boxes, "
            "excluded.width, excluded.height, excluded.local)"
        ).format(table=self._table)
        with self._transaction() as cursor:
            cursor.executemany(statement, rows)

    def _delete(self, keys: Sequence[str]) -> None:
        self._run("DELETE FROM {table} WHERE key = ANY(%s)", [list(keys)])

    def _held(self, keys: Sequence[str]) -> set[str]:
        known = [key for key in keys if "\0" not in key]
        return {key for (key,) in self._run("SELECT key FROM {table} WHERE key = ANY(%s)", [known])}

    def _fetch(self, keys: Sequence[str]) -> Iterator[Record]:
        found = self._run(
            "SELECT key, vector, patches, boxes, width, height, digest FROM {table} "
            "WHERE key = ANY(%s)",
            [list(keys)],
        )
        for key, vector, patches, boxes, width, height, digest in found:
            first = _floats(vector)
            rows = np.array([_floats(patch) for patch in patches], dtype=np.float32)
            places = np.array(boxes, dtype=np.float32).reshape(-1, 4)
            rows = rows.reshape(-1, len(first))
            yield Record(key, first, rows, places, (width, height), None, digest)

    def _fetch_local(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        found = self._run(
            "SELECT key, local FROM {table} WHERE key = ANY(%s) AND local IS NOT NULL",
            [list(keys)],
        )
        return ((key, bytes(local)) for key, local in found)

    def _nearest(self, vectors: Floats, size: int) -> list[list[tuple[str, float]]]:
        from pgvector import Vector

        statement = (
            "SELECT key, 1 - (vector <=> %s) AS cosine FROM {table} "
            "ORDER BY cosine DESC, key LIMIT %s"
        )
        return [self._run(statement, [Vector(vector), size]) for vector in vectors]

    def _best(self, vector: Floats, keys: Sequence[str]) -> Mapping[str, float]:
        from pgvector import Vector

        found = self._run(
            "SELECT key, (SELECT max(1 - (patch <=> %s)) FROM unnest(patches) AS patch) "
            "FROM {table} WHERE key = ANY(%s)",
            [Vector(vector), list(keys)],
        )
        return {key: score for key, score in found if score is not None}


def _floats(vector: Any) -> Floats:
    """Return a vector of pgvector's, which ``np.asarray`` would wrap whole."""
    return np.asarray(vector.to_numpy(), dtype=np.float32)
