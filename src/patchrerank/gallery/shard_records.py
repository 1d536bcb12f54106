"""What is recorded of galleries that are read as one: which, and what one folder would say."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from patchrerank.gallery.arrays import record_bytes
from patchrerank.gallery.checksums import joined_crc
from patchrerank.gallery.gallery import LOCAL, Gallery
from patchrerank.gallery.id_table import ID_TABLE
from patchrerank.gallery.local_manifest import LocalManifest
from patchrerank.gallery.local_store import LocalStore
from patchrerank.gallery.manifest import MANIFEST, REMOVED, ArrayRecord, Manifest, ShardTable
from patchrerank.gallery.mapped import MappedFolder
from patchrerank.gallery.places import PLACES
from patchrerank.gallery.shards import COUNTED, OWN_ARRAYS, pin_of
from patchrerank.types import Rows
from patchrerank.version import __version__

APART = {ID_TABLE, REMOVED, PLACES}
"""Arrays that are not those of all shards one behind the other."""

logger = logging.getLogger(__name__)


def joined_manifest(folder: Path, galleries: Sequence[Gallery], numbering: int = 0) -> Manifest:
    """Return the manifest of a gallery of shards: that of one folder of all, and the shards.

    Args:
        folder: that it is written to.
        galleries: at least one, alike, none of them of shards itself.
        numbering: how often its rows were numbered anew.
    """
    parts = [one.manifest for one in galleries]
    roots = {made.root for made in parts}
    return replace(
        parts[0].with_arrays(joined_records(galleries)),
        root=parts[0].root if len(roots) == 1 else None,
        skipped=tuple(entry for made in parts for entry in made.skipped),
        numbering=numbering,
        pictures=None,  # each shard knows those of its own
        shards=_table(folder, galleries, "patches", "ids"),
        version=__version__,
    )


def joined_local(folder: Path, stores: Sequence[LocalStore], made: Manifest) -> LocalManifest:
    """Return the manifest of local descriptors in shards.

    Args:
        folder: that it is written to.
        stores: of the shards, alike.
        made: the manifest of their gallery.
    """
    parts = [one.manifest for one in stores]
    known = all(made.ids_crc32 is not None for made in parts)
    return replace(
        parts[0].with_arrays(joined_records(stores)),
        ids_crc32=made.arrays["ids"].crc32 if known else None,
        numbering=made.numbering,
        skipped=tuple(entry for made in parts for entry in made.skipped),
        shards=_table(folder, stores, "descriptors", ""),
        version=__version__,
    )


def joined_records(parts: Sequence[MappedFolder]) -> dict[str, ArrayRecord]:
    """Return the records that the arrays of all parts would have in one folder, one by one.

    Only cumulative counts are read for it.
    """
    names = set.intersection(*(set(part.manifest.arrays) for part in parts)) - APART
    return {name: _joined(name, parts) for name in parts[0].manifest.arrays if name in names}


def _joined(name: str, parts: Sequence[MappedFolder]) -> ArrayRecord:
    records: list[ArrayRecord] = [part.manifest.arrays[name] for part in parts]
    first = replace(records[0], generation=0)
    if name in OWN_ARRAYS:
        return first
    rows = sum(record.shape[0] for record in records)
    crc, counted = 0, 0
    for part, record in zip(parts, records, strict=True):
        if name in COUNTED:
            ends = cast(Rows, np.asarray(part.first_used(name))) + counted
            crc = zlib.crc32(ends.data if ends.size else b"", crc)
            counted = int(ends[-1]) if ends.size else counted
        else:
            crc = joined_crc(crc, record.crc32, record_bytes(record))
    return replace(first, shape=(rows, *first.shape[1:]), crc32=crc)


def _table(folder: Path, parts: Sequence[MappedFolder], vectors: str, id_bytes: str) -> ShardTable:
    def rows_of(name: str) -> tuple[int, ...]:
        return tuple(part.manifest.arrays[name].shape[0] if name else 0 for part in parts)

    arrays = [part.manifest.arrays for part in parts]
    here = folder.resolve()
    return ShardTable(
        folders=tuple(os.path.relpath(part.place.resolve(), here) for part in parts),
        images=tuple(part.manifest.images for part in parts),
        vectors=rows_of(vectors),
        id_bytes=rows_of(id_bytes),
        ids_crc32=tuple(held[id_bytes].crc32 if id_bytes else 0 for held in arrays),
        crc32=tuple(pin_of(part.manifest) for part in parts),
    )


def local_stores(parts: Sequence[Gallery]) -> list[LocalStore]:
    """Return the local descriptors of all galleries; none unless all have them, made alike."""
    holders = [part for part in parts if part.has_local]
    if not holders:
        return []
    if len(holders) < len(parts):
        lacking = next(part for part in parts if not part.has_local)
        logger.warning(
            "%s has no local descriptors, so that the joined gallery has none; index --local on it "
            "makes them", lacking.folder,
        )  # fmt: skip
        return []
    stores = [part.local for part in parts]
    other = next((one for one in stores if one.manifest.plan() != stores[0].manifest.plan()), None)
    if other is not None:
        logger.warning(
            "the local descriptors of %s and %s were made with other settings, so that the joined "
            "gallery has none", stores[0].folder, other.folder,
        )  # fmt: skip
        return []
    return stores


def write_local_set(folder: Path, galleries: Sequence[Gallery], manifest: Manifest) -> None:
    """Record that a gallery of shards has local descriptors, where all of its shards have.

    Args:
        folder: of the gallery.
        galleries: its shards.
        manifest: of the gallery.
    """
    stores = local_stores(galleries)
    if stores:
        (folder / LOCAL).mkdir(exist_ok=True)
        joined = joined_local(folder / LOCAL, stores, manifest)
        joined.write(folder / LOCAL / MANIFEST)
