"""A gallery's arrays and its local descriptors, written without the rows that were removed."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from patchrerank.gallery.arrays import Array
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.id_table import ID_TABLE
from patchrerank.gallery.live_arrays import WHOLE, live_blocks
from patchrerank.gallery.local_manifest import LocalManifest
from patchrerank.gallery.local_store import LocalStore
from patchrerank.gallery.manifest import MANIFEST, REMOVED, ArrayRecord, Manifest
from patchrerank.gallery.removed_rows import new_files
from patchrerank.types import Rows


def live_manifest(gallery: Gallery) -> Manifest:
    """Return the manifest of a gallery of the images that are there; its arrays do not count."""
    made, gone = gallery.manifest, len(gallery) - gallery.live_count
    return replace(made, numbering=made.numbering + 1) if gone else made


def write_live(gallery: Gallery) -> Manifest:
    """Write a gallery's arrays anew without the rows that were removed, in its folder.

    Returns:
        The manifest of them, which is to be written then; it has no table of ids yet.
    """
    held = gallery.manifest.arrays
    left = {name: record for name, record in held.items() if name in WHOLE}
    names = held.keys() - {*WHOLE, ID_TABLE, REMOVED}
    arrays = {name: gallery.array(name) for name in held if name in names}
    written = _written(gallery.folder, arrays, held, gallery.live)
    return live_manifest(gallery).with_arrays({**left, **written})


def write_live_local(gallery: Gallery, local: LocalStore, folder: Path) -> LocalManifest:
    """Write local descriptors anew without the rows that were removed.

    Args:
        gallery: whose rows they are.
        local: its descriptors, perhaps of its first rows alone.
        folder: to write to.

    Returns:
        The manifest of them, which is to be written then.
    """
    live = gallery.live[gallery.live < len(local)]
    arrays = {name: local.array(name) for name in local.manifest.arrays}
    written = _written(folder, arrays, local.manifest.arrays, live)
    numbering = live_manifest(gallery).numbering
    made = replace(local.manifest.with_arrays(written), numbering=numbering)
    known = local.manifest.ids_crc32 is not None
    return replace(made, ids_crc32=_crc_of(gallery, live) if known else None)


def copy_local(gallery: Gallery, target: Path) -> None:
    """Copy a gallery's local descriptors, of the rows that are there, to another folder."""
    if gallery.live_count == len(gallery):
        shutil.copytree(gallery.local.folder, target, dirs_exist_ok=True)
        return
    target.mkdir(exist_ok=True)
    write_live_local(gallery, gallery.local, target).write(target / MANIFEST)


def _crc_of(gallery: Gallery, rows: Rows) -> int:
    arrays = {name: gallery.array(name) for name in ("ids", "id_ends")}
    crc = 0
    for block in live_blocks(arrays, rows):
        crc = zlib.crc32(block["ids"].tobytes(), crc)
    return crc


def _written(
    folder: Path, arrays: Mapping[str, Array], held: Mapping[str, ArrayRecord], live: Rows
) -> dict[str, ArrayRecord]:
    files = new_files(
        folder,
        {
            name: ArrayRecord(r.dtype, (0, *r.shape[1:]), generation=r.generation + 1)
            for name, r in held.items()
            if name in arrays
        },
    )
    try:
        for block in live_blocks(arrays, live):
            files.append(block)
            files.flush()
        files.flush(durable=True)
    finally:
        files.close()
    return files.records
