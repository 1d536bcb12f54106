"""Copying galleries one behind the other into one folder, without the rows that were removed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Never

import numpy as np
from tqdm import tqdm

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import ArrayFiles, record_bytes
from patchrerank.gallery.backgrounds import BACKGROUNDS
from patchrerank.gallery.gallery import LOCAL, WHITENING, Gallery
from patchrerank.gallery.id_table import write_table
from patchrerank.gallery.joined_pictures import joined_backgrounds, joined_pictures
from patchrerank.gallery.live_arrays import CUT_BY, WHOLE, live_blocks
from patchrerank.gallery.manifest import MANIFEST, ArrayRecord
from patchrerank.gallery.mapped import MappedFolder
from patchrerank.gallery.places import PLACES, PLACES_RECORD
from patchrerank.gallery.recording_files import joined_files
from patchrerank.gallery.removed_rows import Flags
from patchrerank.gallery.shard_records import joined_local, joined_manifest, local_stores
from patchrerank.types import Rows

logger = logging.getLogger(__name__)


def copy_all(
    folder: Path, galleries: Sequence[Gallery], removed: Sequence[Flags], *, progress: bool
) -> None:
    """Write one gallery that holds all images of several, and their local descriptors.

    Args:
        folder: empty; what is written counts once its manifest is there, which comes last.
        galleries: alike, none of them of shards itself.
        removed: bool ``(n,)`` of each, which rows are left out.
        progress: show a progress bar.

    Raises:
        GalleryError: what is read is not what the manifests say.
    """
    pictures = joined_pictures(galleries)
    packed = next((one for one in galleries if one.manifest.pictures is not None), None)
    if packed is not None and pictures is None:
        logger.warning(
            "%s: its pictures lie in other files, and those of the others do not, or are read "
            "otherwise; the copy knows nothing of where: what looks at pictures again needs a "
            "gallery of shards", packed.folder,
        )  # fmt: skip
    live = [np.flatnonzero(~flags) for flags in removed]
    made = replace(joined_manifest(folder, galleries), shards=None)
    if pictures is not None:
        arrays = {**made.arrays, PLACES: PLACES_RECORD}
        made = replace(made, root=pictures.root, pictures=pictures.record, arrays=arrays)
    stores = local_stores(galleries)
    local = replace(joined_local(folder, stores, made), shards=None) if stores else None
    records = [*made.arrays.values(), *(local.arrays.values() if local else ())]
    total = sum(map(record_bytes, records))
    with tqdm(total=total, unit="B", unit_scale=True, desc="merge", disable=not progress) as bar:
        numbers = None if pictures is None else pictures.numbers
        made = made.with_arrays(_copied(folder, galleries, live, made.arrays, bar, numbers))
        if local is not None:
            partial = folder / f"{LOCAL}.tmp"
            partial.mkdir()
            local = local.with_arrays(_copied(partial, stores, live, local.arrays, bar))
            crc = None if local.ids_crc32 is None else made.arrays["ids"].crc32
            replace(local, ids_crc32=crc).write(partial / MANIFEST)
            partial.rename(folder / LOCAL)
    kept = joined_backgrounds(galleries, removed)
    if kept is not None:
        kept.save(folder / BACKGROUNDS)
    joined_files(galleries, folder)
    if made.whitened:
        shutil.copyfile(galleries[0].place / WHITENING, folder / WHITENING)
    write_table(folder, made, None).write(folder / MANIFEST)


def _copied(
    folder: Path,
    parts: Sequence[MappedFolder],
    live: Sequence[Rows],
    wanted: Mapping[str, ArrayRecord],
    bar: tqdm[Never],
    numbers: Sequence[Rows] | None = None,
) -> dict[str, ArrayRecord]:
    """Append the arrays of all parts, block by block; return the records of what was written.

    Args:
        folder: written to.
        parts: read.
        live: of each, the rows that are wanted.
        wanted: what there would be if all were.
        bar: told of bytes.
        numbers: of each part, the numbers of its files of pictures in the whole.
    """
    empty = {
        name: ArrayRecord(record.dtype, (0, *record.shape[1:])) for name, record in wanted.items()
    }
    files = ArrayFiles(folder, empty)
    try:
        files.append({name: parts[0].array(name) for name in WHOLE if name in wanted})
        for number, (part, rows) in enumerate(zip(parts, live, strict=True)):
            before = {ends: files.rows(name) for name, ends in CUT_BY.items() if name in wanted}
            names = [name for name in wanted if name not in WHOLE]
            for block in live_blocks({name: part.array(name) for name in names}, rows):
                for ends, count in before.items():
                    block[ends] = block[ends] + count
                if numbers is not None:
                    places = block[PLACES]
                    block[PLACES] = np.column_stack([numbers[number][places[:, 0]], places[:, 1:]])
                files.append(block)
                bar.update(sum(array.nbytes for array in block.values()))
        files.flush(durable=True)
    finally:
        files.close()
    everything = all(
        len(rows) == part.manifest.images for part, rows in zip(parts, live, strict=True)
    )
    known = {name: record for name, record in wanted.items() if name != PLACES}
    if everything and any(files.records[name] != record for name, record in known.items()):
        raise _damage(files.records, known)
    return files.records


def _damage(written: Mapping[str, ArrayRecord], wanted: Mapping[str, ArrayRecord]) -> GalleryError:
    name = next(name for name, record in wanted.items() if written[name] != record)
    return GalleryError(
        f"{name}: what was read of the galleries is not what their manifests say; patchrerank info "
        "GALLERY --verify tells which is damaged"
    )
