"""Writing a gallery's vectors as a Parquet file, a row an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.files import written_beside
from patchrerank.gallery.arrow_vectors import RECORD, UUID_BYTES, arrow
from patchrerank.gallery.export_columns import Column, record_of
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.live_arrays import counts_at, rows_at
from patchrerank.gallery.removed_rows import items_of
from patchrerank.gallery.row_sources import BLOCK_BYTES, Array
from patchrerank.gallery.stores import FLOATS
from patchrerank.types import Rows

GROUP_BYTES = 8 * BLOCK_BYTES
"""Bytes of patches in a row group."""


def write_parquet(
    gallery: Gallery, target: Path, columns: dict[str, Column], told: Callable[[int], object]
) -> None:
    """Write ids, globals, patches and, where there are any, boxes; uncompressed.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = arrow()
    live = gallery.live
    a_row = max(1, columns["patches"].nbytes // len(live))
    step = max(1, GROUP_BYTES // a_row)
    with written_beside(target) as scratch:
        schema = _schema(pa, gallery, columns)
        with pa.parquet.ParquetWriter(scratch, schema, compression="none") as writer:
            for start in range(0, len(live), step):
                rows = live[start : start + step]
                arrays = _arrays(pa, gallery, columns, rows)
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
                total = sum(column.nbytes for column in columns.values())
                told(total * len(rows) // len(live))


def _schema(pa: Any, gallery: Gallery, columns: dict[str, Column]) -> Any:
    ids = {"text": pa.string(), "int": pa.int64(), "uuid": pa.binary(UUID_BYTES)}
    fields = [("ids", ids[gallery.manifest.id_type])]
    for name in ("globals", "patches", "boxes"):
        if name in columns:
            kind = pa.from_numpy_dtype(np.dtype(columns[name].dtype))
            vector = pa.list_(kind, columns[name].shape[1])
            fields.append((name, vector if name == "globals" else pa.list_(vector)))
    record = {RECORD: record_of(gallery).encode()}
    return pa.schema([pa.field(*field, nullable=False) for field in fields], metadata=record)


def _arrays(pa: Any, gallery: Gallery, columns: dict[str, Column], rows: Rows) -> list[Any]:
    ids = gallery.ids.at(rows)
    if gallery.manifest.id_type == "uuid":
        ids = [item.bytes for item in ids]
    names = [name for name in ("patches", "boxes") if name in columns]
    ends = np.asarray(gallery.patch_ends)
    offsets = pa.array(np.append(0, np.cumsum(counts_at(ends, rows))), pa.int32())
    patches = items_of(ends, rows)
    lists = [
        pa.ListArray.from_arrays(offsets, _vectors(pa, _rows(gallery, name, patches)))
        for name in names
    ]
    kinds = {"text": pa.string(), "int": pa.int64(), "uuid": pa.binary(UUID_BYTES)}
    whole = _vectors(pa, _rows(gallery, "globals", rows))
    return [pa.array(ids, kinds[gallery.manifest.id_type]), whole, *lists]


def _rows(gallery: Gallery, name: str, rows: Rows) -> Array:
    if name == "patches" and gallery.manifest.store not in FLOATS:
        return np.asarray(gallery.patch_store.decode(rows))
    return rows_at(gallery.array(name), rows)


def _vectors(pa: Any, rows: Array) -> Any:
    values = pa.array(np.ascontiguousarray(rows).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, rows.shape[1])
