"""LanceDB: a table with a multivector column (extra ``lancedb``; run with lancedb 0.40)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.integrations.stores.records import Record
from patchrerank.integrations.stores.store import VectorStore
from patchrerank.types import Floats

ABOUT = b"patchrerank"
"""Key of the schema's metadata under which it stands what the vectors are."""


COLUMNS = ["key", "digest", "width", "height"]
"""Of plain values that every fetch brings."""


class LanceStore(VectorStore):
    """A table of LanceDB's: ``key``, ``digest``, ``vector``, ``patches``, ``boxes`` …

    What is said of all of it stands in the schema's metadata and in a table ``NAME_notes``.
    Searches pass by any vector index (``bypass_vector_index``), which would change the scores of
    multivectors, and ask for cosines; the table's newest version is read, whoever wrote it.

    Args:
        connection: of ``lancedb.connect(…)``.
        table: its name; made by the first push.
    """

    def __init__(self, connection: Any, table: str) -> None:
        self._connection, self._name, self._notes = connection, table, f"{table}_notes"
        self.name = f"lancedb:{table}"
        self._opened: Any = None

    @property
    def one_writer(self) -> str:
        """Why no more than one process may write."""
        return "where two insert an image at one time, it is there twice"

    @property
    def _table(self) -> Any:
        if self._opened is None:
            self._opened = self._connection.open_table(self._name)
        self._opened.checkout_latest()
        return self._opened

    def _read_space(self) -> str | None:
        try:
            metadata = self._table.schema.metadata or {}
        except ValueError as error:
            if "not found" not in str(error):
                raise
            self._opened = None
            return None
        if ABOUT not in metadata:
            raise GalleryError(f"{self.name}: not made by patchrerank; push into another name")
        return str(metadata[ABOUT], "utf-8")

    def _create(self, text: str, dim: int) -> None:
        import pyarrow as pa

        vector = pa.list_(pa.float32(), dim)
        columns = {
            "key": pa.string(),
            "digest": pa.int64(),
            "vector": vector,
            "patches": pa.list_(vector),
            "boxes": pa.list_(pa.float32()),
            "width": pa.int32(),
            "height": pa.int32(),
            "local": pa.binary(),
        }
        schema = pa.schema(list(columns.items()), metadata={ABOUT: text.encode()})
        self._opened = self._connection.create_table(self._name, schema=schema)

    def _keep(self, notes: Mapping[str, str]) -> None:
        import pyarrow as pa

        schema = pa.schema({"name": pa.string(), "text": pa.string()})
        table = self._connection.create_table(self._notes, schema=schema, exist_ok=True)
        rows = pa.table({"name": list(notes), "text": list(notes.values())}, schema)
        merge = table.merge_insert("name").when_matched_update_all().when_not_matched_insert_all()
        merge.execute(rows)

    def _kept(self, names: Sequence[str]) -> dict[str, str]:
        try:
            table = self._connection.open_table(self._notes)
        except ValueError as error:
            if "not found" not in str(error):
                raise
            return {}
        found = table.search().where(_among(names, "name")).limit(len(names)).to_arrow()
        return dict(zip(found["name"].to_pylist(), found["text"].to_pylist(), strict=True))

    def _digests(self) -> Iterator[tuple[str, int]]:
        found = self._rows(None, ["key", "digest"])
        yield from zip(found["key"].to_pylist(), found["digest"].to_pylist(), strict=True)

    def _write(self, records: Sequence[Record]) -> None:
        table = self._table
        merge = table.merge_insert("key").when_matched_update_all().when_not_matched_insert_all()
        merge.execute(_arrow(records, table.schema))

    def _delete(self, keys: Sequence[str]) -> None:
        self._table.delete(_among(keys))

    def _held(self, keys: Sequence[str]) -> set[str]:
        return set(self._rows(keys, ["key"])["key"].to_pylist())

    def _fetch(self, keys: Sequence[str]) -> Iterator[Record]:
        found = self._rows(keys, [*COLUMNS, "vector", "patches", "boxes"])
        if not found.num_rows:
            return
        vectors = _floats(found["vector"].combine_chunks()).reshape(found.num_rows, -1)
        patches, ends = _flat(found["patches"], vectors.shape[1])
        boxes, box_ends = _flat(found["boxes"], 4)
        known = zip(*(found[name].to_pylist() for name in COLUMNS), strict=True)
        for row, (key, digest, *size) in enumerate(known):
            these, those = slice(*ends[row : row + 2]), slice(*(box_ends[row : row + 2] // 4))
            width, height = size
            arrays = vectors[row], patches[these], boxes[those]
            yield Record(key, *arrays, (width, height), None, digest)

    def _fetch_local(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        found = self._rows(keys, ["key", "local"])
        pairs = zip(found["key"].to_pylist(), found["local"].to_pylist(), strict=True)
        return ((key, local) for key, local in pairs if local is not None)

    def _rows(self, keys: Sequence[str] | None, columns: list[str]) -> Any:
        table = self._table
        search = table.search().select(columns)
        if keys is not None:
            search = search.where(_among(keys))
        most = table.count_rows() if keys is None else len(keys)
        return search.limit(max(most, 1)).to_arrow()

    def _nearest(self, vectors: Floats, size: int) -> list[list[tuple[str, float]]]:
        table = self._table
        return [_pairs(_search(table, vector, "vector").limit(size)) for vector in vectors]

    def _best(self, vector: Floats, keys: Sequence[str]) -> Mapping[str, float]:
        search = _search(self._table, vector, "patches").where(_among(keys))
        return dict(_pairs(search.limit(len(keys))))  # one row: the sum is the maximum


def _search(table: Any, vector: Floats, column: str) -> Any:
    search = table.search(vector, vector_column_name=column).distance_type("cosine")
    return search.bypass_vector_index().select(["key", "_distance"])


def _pairs(search: Any) -> list[tuple[str, float]]:
    found = search.to_arrow()
    cosines = (1.0 - distance for distance in found["_distance"].to_pylist())
    return list(zip(found["key"].to_pylist(), cosines, strict=True))


def _among(keys: Sequence[str], column: str = "key") -> str:
    quoted = ", ".join("'{}'".format(key.replace("'", "''")) for key in keys)
    return f"{column} IN ({quoted})"


def _arrow(records: Sequence[Record], schema: Any) -> Any:
    import pyarrow as pa

    dim = len(records[0].vector)
    vectors = np.concatenate([record.vector for record in records])
    patches = np.concatenate([record.patches.ravel() for record in records])
    boxes = np.concatenate([record.boxes.ravel() for record in records])
    ends = np.cumsum([0, *(len(record.patches) for record in records)]).astype(np.int32)
    box_ends = np.cumsum([0, *(record.boxes.size for record in records)]).astype(np.int32)
    columns = [
        pa.array([record.key for record in records], pa.string()),
        pa.array([record.digest for record in records], pa.int64()),
        pa.FixedSizeListArray.from_arrays(vectors, dim),
        pa.ListArray.from_arrays(ends, pa.FixedSizeListArray.from_arrays(patches, dim)),
        pa.ListArray.from_arrays(box_ends, pa.array(boxes, pa.float32())),
        *(pa.array([record.size[axis] for record in records], pa.int32()) for axis in (0, 1)),
        pa.array([record.local for record in records], pa.binary()),
    ]
    named = zip(columns, schema, strict=True)
    return pa.Table.from_arrays([column.cast(field.type) for column, field in named], schema=schema)


def _flat(column: Any, width: int) -> tuple[Floats, np.ndarray[tuple[int, ...], np.dtype[Any]]]:
    """Return all values of a list column as ``(T, width)``, and where each row's lists begin."""
    import pyarrow.compute as pc

    lists = column.combine_chunks()
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return _floats(lists.flatten()).reshape(-1, width), ends


def _floats(array: Any) -> Floats:
    values = array.flatten() if hasattr(array, "flatten") and array.type.num_fields else array
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float32)
