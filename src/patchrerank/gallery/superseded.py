"""Rows whose id stands again in a row that was appended later: the later one counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from patchrerank.gallery.arrays import open_array
from patchrerank.gallery.ids import Ids
from patchrerank.gallery.manifest import Manifest
from patchrerank.gallery.removed_rows import Flags, removed_flags


def superseded(folder: Path, manifest: Manifest, complete: int) -> Flags:
    """Return the rows that do not count: removed, or followed by another of the same id.

    Args:
        folder: of the gallery.
        manifest: of all N rows.
        complete: the first rows, in which no living id stands twice; those behind were appended.

    Returns:
        bool ``(N,)``.
    """
    gone = removed_flags(folder, manifest)
    if not 0 < complete < manifest.images:
        return gone
    blob, ends = (open_array(folder, key, manifest.arrays[key]) for key in ("ids", "id_ends"))
    every = Ids(folder, blob, ends, manifest.id_type)
    latest: dict[object, int] = {}
    for row in range(complete, len(every)):
        if not gone[row]:
            item = every[row]
            gone[latest.get(item, row)] = item in latest
            latest[item] = row
    first = Ids(
        folder,
        blob[: int(np.asarray(ends)[complete - 1])],
        ends[:complete],
        manifest.id_type,
        removed=gone[:complete].astype(np.uint8),
    )
    rows = first.rows_of(list(latest))
    gone[rows[rows >= 0]] = True
    return gone
