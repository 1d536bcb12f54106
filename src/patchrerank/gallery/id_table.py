"""The table through which the ids of a large gallery are found, written beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from patchrerank.gallery.arrays import ArrayWriter, array_path, open_array
from patchrerank.gallery.manifest import ArrayRecord, Manifest

ID_TABLE = "id_table"
TABLE_RECORD = ArrayRecord("<u4", (0,))
TABLE_FROM = 1 << 16
"""Images from which a table is written; of fewer it is made in less time than it is read."""


def table_size(images: int) -> int:
    """Return the places of a table: a power of two, between a third and two thirds full."""
    return 1 << max(3, (3 * images // 2).bit_length())


def write_table(folder: Path, manifest: Manifest, before: ArrayRecord | None) -> Manifest:
    """Write the table of all ids; return the manifest with it, which is to be written then.

    Args:
        folder: of the gallery.
        manifest: of all images, without a table.
        before: the table that a manifest on disk names: its file stays as it is.
    """
    from patchrerank.kernels.ids import table_of

    if manifest.images < TABLE_FROM:
        return manifest
    blob, ends = (open_array(folder, key, manifest.arrays[key]) for key in ("ids", "id_ends"))
    size = table_size(manifest.images)
    table, _ = table_of(blob.view(np.uint8), ends.view(np.int64), size)
    generation = 0 if before is None else before.generation + 1
    writer = ArrayWriter(folder, ID_TABLE, replace(TABLE_RECORD, generation=generation))
    writer.append(table)
    writer.flush(durable=True)
    writer.close()
    return manifest.with_arrays({**manifest.arrays, ID_TABLE: writer.record})


def drop_table(folder: Path, record: ArrayRecord | None, kept: ArrayRecord | None) -> None:
    """Remove the file of a table that no manifest names any more."""
    if record is not None and (kept is None or kept.generation != record.generation):
        array_path(folder, ID_TABLE, record.generation).unlink(missing_ok=True)
