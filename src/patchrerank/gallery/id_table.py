"""The table through which the ids of a large gallery are found, written beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchrerank.gallery.arrays import open_array
from patchrerank.gallery.manifest import ArrayRecord, Manifest
from patchrerank.gallery.removed_rows import removed_flags, write_anew

Table = npt.NDArray[np.uint32]

ID_TABLE = "id_table"
TABLE_RECORD = ArrayRecord("<u4", (0,))
TABLE_FROM = 1 << 16
"""Images from which a table is written; of fewer it is made in less time than it is read."""


def table_size(images: int) -> int:
    """Return the places of a table: a power of two, between a third and two thirds full."""
    return 1 << max(3, (3 * images // 2).bit_length())


def write_table(
    folder: Path, manifest: Manifest, before: ArrayRecord | None, table: Table | None = None
) -> Manifest:
    """Write the table of all ids; return the manifest with it, which is to be written then.

    Args:
        folder: of the gallery.
        manifest: of all images, without a table.
        before: the table that a manifest on disk names: its file stays as it is.
        table: of these ids, where it is made already.
    """
    if manifest.images < TABLE_FROM:
        return manifest
    if table is None:
        table = _table(folder, manifest)
    return manifest.with_arrays({**manifest.arrays, ID_TABLE: save_table(folder, table, before)})


def save_table(folder: Path, table: Table, before: ArrayRecord | None) -> ArrayRecord:
    """Write a table beside the one that a manifest names, and return its record."""
    generation = 0 if before is None else before.generation + 1
    return write_anew(folder, ID_TABLE, replace(TABLE_RECORD, generation=generation), table)


def _table(folder: Path, manifest: Manifest) -> Table:
    from patchrerank.kernels.ids import table_of

    blob, ends = (open_array(folder, key, manifest.arrays[key]) for key in ("ids", "id_ends"))
    size = table_size(manifest.images)
    removed = removed_flags(folder, manifest).astype(np.uint8)
    return table_of(blob.view(np.uint8), ends.view(np.int64), size, removed)[0]
