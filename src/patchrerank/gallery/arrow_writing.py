"""Writing a gallery's vectors as a Parquet file, a row an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.files import written_beside
from patchrerank.gallery.arrow_columns import UUID_BYTES
from patchrerank.gallery.arrow_files import arrow
from patchrerank.gallery.arrow_vectors import RECORD, WHITENED
from patchrerank.gallery.export_columns import Column, record_of, whitening_of
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.live_arrays import counts_at, rows_at
from patchrerank.gallery.removed_rows import items_of
from patchrerank.gallery.row_sources import BLOCK_BYTES, Array
from patchrerank.gallery.stores import FLOATS
from patchrerank.types import Rows

GROUP_BYTES = 8 * BLOCK_BYTES
"""Bytes in a row group."""


LISTS = {"patches": "patches", "boxes": "boxes", "local": "local/vectors", "places": "local/places"}
"""Columns of lists of vectors → the arrays that they are of."""


def write_parquet(
    gallery: Gallery, target: Path, columns: dict[str, Column], told: Callable[[int], object]
) -> None:
    """Write a row an image, with what an import knows as columns of a table; uncompressed.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = arrow()
    live = gallery.live
    size = sum(column.nbytes for column in columns.values())
    step = max(1, GROUP_BYTES // max(1, size // len(live)))
    how = {"compression": "none", "use_dictionary": False}  # one of floats costs much, saves none
    with written_beside(target) as scratch:
        schema = _schema(pa, gallery, columns)
        with pa.parquet.ParquetWriter(scratch, schema, **how) as writer:
            for start in range(0, len(live), step):
                rows = live[start : start + step]
                arrays = [_array(pa, gallery, field, rows) for field in schema]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
                told(size * len(rows) // len(live))


def _schema(pa: Any, gallery: Gallery, columns: dict[str, Column]) -> Any:
    ids = {"text": pa.string(), "int": pa.int64(), "uuid": pa.binary(UUID_BYTES)}

    def vector(name: str) -> Any:
        return pa.list_(pa.from_numpy_dtype(np.dtype(columns[name].dtype)), columns[name].shape[1])

    fields = [("ids", ids[gallery.manifest.id_type])]
    fields += [(name, vector(name)) for name in ("globals", "sizes") if name in columns]
    fields += [(name, pa.list_(vector(of))) for name, of in LISTS.items() if of in columns]
    record = {RECORD: record_of(gallery, columns).encode()}
    whitening = whitening_of(gallery).items()
    record |= {WHITENED + name.encode(): array.tobytes() for name, array in whitening}
    return pa.schema([pa.field(*field, nullable=False) for field in fields], metadata=record)


def _array(pa: Any, gallery: Gallery, field: Any, rows: Rows) -> Any:
    if field.name == "ids":
        ids = gallery.ids.at(rows)
        uuids = gallery.manifest.id_type == "uuid"
        return pa.array([item.bytes for item in ids] if uuids else ids, field.type)
    if field.name not in LISTS:
        return _vectors(pa, rows_at(gallery.array(field.name), rows))
    local = LISTS[field.name] != field.name
    ends = gallery.local.ends if local else gallery.patch_ends
    offsets = pa.array(np.append(0, np.cumsum(counts_at(ends, rows))), pa.int32())
    items = items_of(ends, rows)
    return pa.ListArray.from_arrays(offsets, _vectors(pa, _items(gallery, field.name, items)))


def _items(gallery: Gallery, name: str, items: Rows) -> Array:
    if name == "boxes":
        return rows_at(gallery.array(name), items)
    if name == "places":
        return gallery.local.places(items)
    if name == "patches":
        return _decoded(gallery.manifest.store, gallery.patch_store, gallery.array(name), items)
    local = gallery.local
    return _decoded(local.manifest.store, local.store, local.array("descriptors"), items)


def _decoded(store: str, held: Any, array: Array, items: Rows) -> Array:
    return rows_at(array, items) if store in FLOATS else np.asarray(held.decode(items))


def _vectors(pa: Any, rows: Array) -> Any:
    values = pa.array(np.ascontiguousarray(rows).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, rows.shape[1])
