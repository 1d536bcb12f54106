"""A gallery that follows its folder of pictures: what is new, what changed, what is gone."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from patchrerank.addresses import Address, Place, place_of
from patchrerank.errors import GalleryError
from patchrerank.gallery.builder import chunk_size
from patchrerank.gallery.encoding import encode_all
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.identity import is_imported
from patchrerank.gallery.manifest import BUILDING, Manifest
from patchrerank.gallery.own_encoder import load_index_encoder, own_regions
from patchrerank.gallery.preparing import Preparer
from patchrerank.gallery.removed_rows import Flags
from patchrerank.gallery.settings import check_one_folder, ids_of
from patchrerank.gallery.shard_following import check_followed
from patchrerank.gallery.sync_guard import why_not
from patchrerank.gallery.sync_options import Synced, SyncOptions
from patchrerank.gallery.sync_pictures import check_times, found_below, is_hidden, pictures_in
from patchrerank.gallery.sync_plan import Item, SyncPlan, plan_sync
from patchrerank.gallery.writer import GalleryWriter, open_writer
from patchrerank.regions import Regions

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

logger = logging.getLogger(__name__)


def sync(
    pictures: str | os.PathLike[str] | Address,
    folder: str | os.PathLike[str],
    options: SyncOptions | None = None,
    *,
    encoder: Encoder | None = None,
    regions: Regions | str | None = None,
    device: str = "auto",
) -> Synced:
    """Make a gallery hold what its folder of pictures holds now.

    New pictures are encoded, changed ones encoded again, and those that are gone removed: all of
    that in one moment for readers, who see the older state before. Finished chunks of a run that
    is killed are kept, and the same call goes on. A picture that was moved or renamed is one that
    is gone and one that is new. Rows that do not count any more take their bytes until
    :func:`patchrerank.gallery.compact`; local descriptors of new rows are made by
    :func:`patchrerank.gallery.build_local`.

    Args:
        pictures: the folder that the gallery was made of.
        folder: of the gallery.
        options: see :class:`SyncOptions`.
        encoder: None: the one that the gallery's record names.
        regions: None: those that it names; needed where they were read from a file.
        device: that the encoder of the record is loaded to.

    Raises:
        GalleryError: no gallery, an imported one, one of another folder or of no folder; no
            pictures; more images gone than may go (``max_removed``); another process at work; it
            cannot be written.
        ImageError, RegionError, VectorError: a picture cannot be encoded (``on_error="raise"``).
        EncoderError, QueryError: the encoder of its record cannot be loaded, or is another now.
    """
    options = options or SyncOptions()
    root = place_of(pictures)
    gallery, found = Gallery(folder), found_below(root)
    items = pictures_in(root, found, options)
    _check(gallery, root)
    check_times(items, options)
    plan = _compared(gallery.folder, gallery.manifest, gallery.removed, items, options)
    hidden = [one for one in plan.removed if is_hidden(root / one, found)]
    if hidden:  # they are looked at as all others: what cannot be read is not gone
        items += [(one, root / one) for one in hidden]
        plan = _compared(gallery.folder, gallery.manifest, gallery.removed, items, options)
    begun = (gallery.folder / BUILDING).exists()
    refused = _refused(gallery, plan.removed, items, options)
    if options.dry_run:
        return replace(_told(plan), refused=refused)
    if plan.nothing and not begun:
        return _told(plan)
    _check_gone(gallery, refused)
    model = encoder or load_index_encoder(gallery, device)
    strategy = own_regions(
        gallery, regions, most=options.max_regions, on_error=options.building().on_error
    )
    chunk = chunk_size(model, strategy)
    with open_writer(gallery.folder, model, strategy, options.building(), chunk) as writer:
        if writer.complete != gallery.manifest:  # somebody was faster
            gallery = Gallery(folder)
            plan = _compared(gallery.folder, gallery.manifest, gallery.removed, items, options)
            _check_gone(gallery, _refused(gallery, plan.removed, items, options))
        work = plan
        if begun:
            work = _compared(writer.folder, writer.manifest, writer.gone, items, options)
        names = [name for name, _ in items]
        broken = _encode(work, names, writer, model, Preparer(model, strategy, options.building()))
        if options.on_error == "drop":
            _check_dropped(gallery, plan, broken, items, options)
        return _finish(plan, work, broken, writer, options)


def _refused(
    gallery: Gallery, gone: Sequence[str], items: Sequence[Item], options: SyncOptions
) -> str | None:
    there = (name for name, _ in items)
    return why_not(gone, there, gallery.live_count, options.max_removed)


def _check_gone(gallery: Gallery, refused: str | None) -> None:
    if refused is not None:
        raise GalleryError(f"{gallery.folder}: {refused}; nothing was changed")


def _check_dropped(
    gallery: Gallery,
    plan: SyncPlan,
    broken: Mapping[str, str],
    items: Sequence[Item],
    options: SyncOptions,
) -> None:
    """Count those that cannot be read with those that are gone; what was encoded is kept."""
    names = list(broken)
    rows = gallery.rows_of(names, strict=False).tolist()
    held = [name for name, row in zip(names, rows, strict=True) if row >= 0]
    left = [item for item in items if item[0] not in broken]
    _check_gone(gallery, _refused(gallery, [*plan.removed, *held], left, options))


def _encode(
    work: SyncPlan, names: list[str], writer: GalleryWriter, encoder: Encoder, prepare: Preparer
) -> dict[str, str]:
    """Encode what is to be; return why some of it could not be, by id."""
    items = [*work.added, *work.changed, *work.unrecorded]
    tried, there = {name for name, _ in items}, set(names)
    left = [one for one in writer.manifest.skipped if one[0] in there and one[0] not in tried]
    writer.manifest = replace(writer.manifest, skipped=tuple(left))
    options = prepare.options
    with (
        ThreadPoolExecutor(options.workers) as pool,
        tqdm(total=len(items), unit="img", desc="sync", disable=not options.progress) as bar,
    ):
        encode_all(iter(items), writer, encoder, prepare, pool, bar, options.on_error)
    return {name: reason for name, reason in writer.manifest.skipped if name in tried}


def _finish(
    plan: SyncPlan,
    work: SyncPlan,
    broken: dict[str, str],
    writer: GalleryWriter,
    options: SyncOptions,
) -> Synced:
    names = list(broken)
    ids = ids_of(writer.folder, writer.manifest, writer.gone.astype(np.uint8))
    rows = ids.rows_of(names)
    held = [name for name, row in zip(names, rows.tolist(), strict=True) if row >= 0]
    dropped = rows[rows >= 0].tolist() if options.on_error == "drop" else []
    writer.finish([*work.gone, *dropped], work.stamps)
    told = _told(plan, broken)
    if options.on_error == "drop":
        return replace(told, removed=(*told.removed, *held))
    return replace(told, kept=tuple(held))


def _told(plan: SyncPlan, broken: Mapping[str, str] = MappingProxyType({})) -> Synced:
    again = [*plan.changed, *plan.unrecorded]
    return Synced(
        tuple(name for name, _ in plan.added if name not in broken),
        tuple(name for name, _ in again if name not in broken),
        tuple(plan.removed),
        plan.unchanged,
        sum(name not in broken for name, _ in plan.unrecorded),
        tuple(broken.items()),
    )


def _check(gallery: Gallery, pictures: Place) -> None:
    made, there = gallery.manifest, str(pictures.resolve())
    check_followed(gallery.folder, made.shards, pictures)
    check_one_folder(gallery.folder, made)
    if is_imported(made.encoder):
        raise GalleryError(
            f"{gallery.folder}: was imported, with vectors of {made.encoder.get('spec')!r}, which "
            "only you can run: make vectors of what is new with it and import all anew, or take "
            f"out what is gone with patchrerank remove {gallery.folder}"
        )
    if made.root is None or made.id_type != "text" or made.pictures is not None:
        raise GalleryError(
            f"{gallery.folder}: was not made of a folder of pictures, so none can be followed; "
            "add images with append=True (--append) and take them out with remove"
        )
    if made.root != there:
        raise GalleryError(
            f"{gallery.folder}: holds images of {made.root}, not of {there}; if these are the same "
            f"pictures, moved, say so once with patchrerank index {pictures} {gallery.folder} "
            f"--root {pictures} --append and the gallery's own settings"
        )


def _compared(
    folder: Path, made: Manifest, gone: Flags, items: list[Item], options: SyncOptions
) -> SyncPlan:
    return plan_sync(
        folder,
        made,
        gone,
        items,
        checksum=options.checksum,
        unrecorded=options.unrecorded,
        workers=options.workers,
    )
