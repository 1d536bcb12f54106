"""Joining galleries: into one of shards, which copies nothing, or into one folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from patchrerank.errors import GalleryError, SettingError, described
from patchrerank.gallery.arrays import ArrayWriter
from patchrerank.gallery.copying import copy_all
from patchrerank.gallery.folder import lock_folder, writing
from patchrerank.gallery.fresh_folder import fresh_folder
from patchrerank.gallery.gallery import LOCAL, WHITENING, Gallery
from patchrerank.gallery.id_table import ID_TABLE, save_table
from patchrerank.gallery.joined_backgrounds import join_backgrounds
from patchrerank.gallery.live_arrays import WHOLE
from patchrerank.gallery.manifest import MANIFEST, REMOVED, ArrayRecord
from patchrerank.gallery.removed_rows import Flags, sweep, write_flags
from patchrerank.gallery.shard_agreement import check_alike, id_table_of
from patchrerank.gallery.shard_records import joined_manifest, write_local_set
from patchrerank.gallery.shards import Shards

Parts: TypeAlias = dict[Path, tuple[Gallery, Flags]]
"""Where each gallery lies → the gallery, and which of its rows were removed."""


def merge(
    folder: str | os.PathLike[str],
    galleries: Iterable[Gallery | str | os.PathLike[str]],
    *,
    append: bool = False,
    copy: bool = False,
    progress: bool = True,
) -> Gallery:
    """Join galleries into one, which looks like one folder that holds all their images in order.

    Args:
        folder: what is written: absent or empty, except for shards that lie in it.
        galleries: open, or their folders; of one of shards, its shards are taken. All were made
            alike (encoder, regions, store, dimensions, kind of ids), and no id stands in two. A
            folder that is named again counts once, so that the same call can be repeated.
        append: ``folder`` is a gallery of shards, to which these are added, behind those that it
            has; all are taken as they are now, and what was removed from it stays so.
        copy: copy all into one folder, which needs the others no longer and holds no rows that
            were removed. Without it they are the shards of a gallery, by their paths relative to
            ``folder``: they stay where they are, or are moved together with it, and one that is
            missing or was changed is refused when one of its images is first used.
        progress: show a progress bar.

    Returns:
        The gallery. It has local descriptors where all have them, made alike, and backgrounds for
        query views where any has.

    Raises:
        GalleryError: none are given, they cannot be one, an id stands twice, one is damaged, or
            ``folder`` holds something else or cannot be written. Nothing is left behind.
        SettingError: both ``append`` and ``copy``.
    """
    if append and copy:
        raise SettingError("use one of append=True (--append) and copy=True (--copy)")
    if isinstance(galleries, str | os.PathLike):
        raise GalleryError(f"galleries is {described(galleries)}; pass a list of folders")
    target = Path(folder)
    before = _set_of(target) if append else None
    parts = {} if before is None or before.shards is None else _kept(before, before.shards)
    for place, part in _opened(target, galleries):
        parts.setdefault(place, part)
    if not parts:
        raise GalleryError("there are no galleries to join; name at least one")
    joined, removed = [one for one, _ in parts.values()], [flags for _, flags in parts.values()]
    inside = _inside(target, parts)
    check_alike(joined)
    if before is not None:
        with lock_folder(target), writing(target, before.live_count):
            write_set(target, joined, removed, before)
        return Gallery(target)
    with fresh_folder(target, inside):
        if copy:
            id_table_of(joined, np.concatenate(removed))  # no id stands twice
            copy_all(target, joined, removed, progress=progress)
            join_backgrounds(target, joined, removed, None)
        else:
            write_set(target, joined, removed, None)
    return Gallery(target)


def _set_of(folder: Path) -> Gallery:
    gallery = Gallery(folder)
    if gallery.shards is None:
        raise GalleryError(
            f"{folder}: is one folder, not a gallery of shards; join it with the others into a "
            "new one"
        )
    return gallery


def _kept(gallery: Gallery, shards: Shards) -> Parts:
    """Return the shards of a gallery as they are now, without the rows that it had removed.

    Raises:
        GalleryError: one is missing, or rows were removed of which nobody knows any more which
            they are.
    """
    parts: Parts = {}
    for number in range(len(shards)):
        path, count = shards.path(number), shards.table.images[number]
        part, start = Gallery(path), int(shards.starts["images"][number])
        flags, old = part.removed.copy(), gallery.removed[start : start + count]
        if len(part) >= count and part.ids_crc(count) == shards.table.ids_crc32[number]:
            flags[:count] |= old
        elif old.any():
            raise GalleryError(
                f"{gallery.folder}: its shard {path} has other rows than when images of it were "
                "removed here; remove them from the shard, and join all into a new gallery"
            )
        parts[part.place.resolve()] = part, flags
    return parts


def _opened(
    target: Path, galleries: Iterable[Gallery | str | os.PathLike[str]]
) -> Iterator[tuple[Path, tuple[Gallery, Flags]]]:
    """Open galleries, and of those of shards the shards."""
    for item in galleries:
        gallery = item if isinstance(item, Gallery) else Gallery(item)
        if gallery.place.resolve() == target.resolve():
            raise GalleryError(f"{target}: cannot be joined into itself; name another folder")
        if gallery.shards is None:
            yield gallery.place.resolve(), (gallery, gallery.removed)
            continue
        starts = gallery.shards.starts["images"]
        for number, shard in enumerate(gallery.shards):
            flags = gallery.removed[starts[number] : starts[number + 1]]
            yield shard.place.resolve(), (shard, flags)


def _inside(target: Path, places: Iterable[Path]) -> set[str]:
    """Return the names in a folder of what leads to galleries.

    Raises:
        GalleryError: one lies where local descriptors do.
    """
    here = target.resolve()
    found = {place.relative_to(here).parts[0] for place in places if place.is_relative_to(here)}
    if LOCAL in found:
        raise GalleryError(
            f"{target / LOCAL}: is the place of local descriptors; give this gallery another name"
        )
    return found


def write_set(
    folder: Path, parts: Sequence[Gallery], removed: Sequence[Flags], before: Gallery | None
) -> None:
    """Write what a gallery of shards has of its own; the manifest comes last.

    Args:
        folder: whose lock is held.
        parts: alike, at least one.
        removed: bool ``(n,)`` of each, which rows were removed.
        before: the gallery that stands there, of some of the shards.

    Raises:
        GalleryError: an id stands twice; nothing is written then.
    """
    flags = np.concatenate(removed)
    made = joined_manifest(folder, parts, _numbering(parts, before))
    table = id_table_of(parts, flags)
    old = {} if before is None else before.manifest.arrays
    record = save_table(folder, table, old.get(ID_TABLE))
    if REMOVED in old:
        made = replace(made, arrays={**made.arrays, REMOVED: old[REMOVED]})
    if flags.any():
        made = write_flags(folder, made, flags)
    if before is None:
        _write_own(folder, parts[0])
    join_backgrounds(folder, parts, removed, before)
    write_local_set(folder, parts, made)
    made = replace(made, arrays={**made.arrays, ID_TABLE: record})
    made.write(folder / MANIFEST)
    sweep(folder, made.arrays)


def _numbering(parts: Sequence[Gallery], before: Gallery | None) -> int:
    """Return how often rows were numbered anew: once more unless all stand where they stood."""
    if before is None or before.shards is None:
        return 0
    table, number = before.shards.table, before.manifest.numbering
    held = [part.manifest.images for part in parts[: len(table.images)]]
    pairs = zip(parts, table.images, strict=False)  # there may be more now
    crcs = [part.ids_crc(min(count, len(part))) for part, count in pairs]
    grown = held[:-1] == list(table.images[:-1]) and held[-1] >= table.images[-1]
    return number if grown and crcs == list(table.ids_crc32) else number + 1


def _write_own(folder: Path, first: Gallery) -> None:
    """Copy what is the same in all shards and is needed before any of them is opened."""
    for name in set(WHOLE) & set(first.manifest.arrays):
        record = first.manifest.arrays[name]
        writer = ArrayWriter(folder, name, ArrayRecord(record.dtype, (0, *record.shape[1:])))
        writer.append(first.array(name))
        writer.flush(durable=True)
        writer.close()
    if first.manifest.whitened:
        shutil.copyfile(first.place / WHITENING, folder / WHITENING)
