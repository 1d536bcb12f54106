"""What a gallery is made with, and whether one that is there can be continued so."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import Array, open_array
from patchrerank.gallery.folder import check_plan
from patchrerank.gallery.gallery import WHITENING
from patchrerank.gallery.id_types import ID_TYPES
from patchrerank.gallery.identity import (
    identity_of,
    index_options,
    is_imported,
    is_module,
    loading_call,
)
from patchrerank.gallery.ids import Ids
from patchrerank.gallery.manifest import (
    BUILDING,
    MANIFEST,
    REMOVED,
    ArrayRecord,
    Manifest,
    PictureRecord,
)
from patchrerank.gallery.manifest_reading import read_manifest
from patchrerank.gallery.places import FILES, PLACES, PLACES_RECORD
from patchrerank.gallery.removed_rows import removed_flags
from patchrerank.gallery.stamps import STAMPS, STAMPS_RECORD
from patchrerank.gallery.stores import gallery_records
from patchrerank.gallery.whitening import check_begun
from patchrerank.regions import FixedBoxes
from patchrerank.types import Floats
from patchrerank.version import __version__

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder, Whitening
    from patchrerank.gallery.build_options import BuildOptions
    from patchrerank.regions import Regions


def check_settings(
    folder: Path, manifest: Manifest, encoder: Encoder, regions: Regions, options: BuildOptions
) -> Manifest:
    """Return a gallery's manifest if it can be continued with these settings.

    Boxes that were given per image may have changed for images that it does not hold yet; the
    manifest returned then names the boxes as they are now.

    Raises:
        GalleryError: other settings, or other boxes of an image that is there.
    """
    check_one_folder(folder, manifest)
    if options.whiten is not None:
        check_begun(folder, manifest, options.whiten)
    wanted = replace(options, store=options.store or manifest.store)
    whitening = whitening_of(folder, manifest)
    asked = new_manifest(encoder, regions, wanted, manifest.chunk, whitening)
    if asked.regions != manifest.regions and isinstance(regions, FixedBoxes):
        manifest = _with_boxes(folder, manifest, asked.regions, regions)
    _check_plan(folder, manifest, asked)
    return manifest


def check_pictures(
    folder: Path, manifest: Manifest, pictures: PictureRecord | None, id_type: str
) -> None:
    """Refuse to add pictures that lie, or have ids, in another way than those that are there.

    Args:
        folder: of the gallery.
        manifest: its own.
        pictures: how those that come are read; None: each is a file.
        id_type: what their ids are.

    Raises:
        GalleryError: names what differs, then and now.
    """
    if manifest.id_type != id_type:
        raise GalleryError(
            f"{folder}: its ids are {ID_TYPES[manifest.id_type].words}, pictures are indexed under "
            f"{ID_TYPES[id_type].words}; use another folder"
        )
    was, now = map(_lie_in, (manifest.pictures, pictures))
    if manifest.images and was != now:
        raise GalleryError(f"{folder}: its pictures {was}, these {now}; use another folder")


def _lie_in(pictures: PictureRecord | None) -> str:
    if pictures is None:
        return "are files"
    column = f" and pictures of {pictures.column!r}" if pictures.column else ""
    return f"lie in {FILES[pictures.kind]}, with ids of {pictures.ids!r}{column}"


def pictures_so_far(folder: Path) -> PictureRecord | None:
    """Return how the pictures of a gallery were read, if one is there, begun or complete."""
    for name in (BUILDING, MANIFEST):
        with suppress(GalleryError):
            return read_manifest(folder / name).pictures
    return None


def check_one_folder(folder: Path, manifest: Manifest) -> None:
    """Refuse to change the pictures of a gallery of shards.

    Raises:
        GalleryError: it is one.
    """
    if manifest.shards is not None:
        raise GalleryError(
            f"{folder}: is a gallery of shards; change one of these, or index new pictures into a "
            f"folder of their own, and then run patchrerank merge {folder} [FOLDER] --append"
        )


def _with_boxes(folder: Path, manifest: Manifest, asked: str, regions: FixedBoxes) -> Manifest:
    """Return a manifest that names other boxes, if they are the same for the images there."""
    held, _, how = manifest.regions.partition(" ")
    if not held.startswith("boxes:") or how != asked.partition(" ")[2]:
        return manifest
    boxes, ends, sizes = (
        open_array(folder, key, manifest.arrays[key]) for key in ("boxes", "patch_ends", "sizes")
    )
    start = 0
    for image_id, end, (width, height) in zip(
        ids_of(folder, manifest), ends.tolist(), sizes.tolist(), strict=True
    ):
        held_here = cast("Floats", boxes[start:end])
        if not regions.agree(str(image_id), (width, height), held_here):
            raise GalleryError(
                f"{folder}: the boxes of {image_id!r} are others than those it was indexed with; "
                "give the boxes of before for images that are there, or use another folder"
            )
        start = end
    return replace(manifest, regions=asked)


def new_manifest(
    encoder: Encoder,
    regions: Regions,
    options: BuildOptions,
    chunk: int,
    whitening: Whitening | None = None,
    pictures: PictureRecord | None = None,
    id_type: str = "text",
) -> Manifest:
    """Return the manifest of a gallery without images that is made with these settings."""
    store = options.store or "float32"
    dim = encoder.dim if whitening is None else whitening.matrix.shape[1]
    return Manifest(
        dim=dim,
        store=store,
        regions=encoder.recorded_regions(regions.spec),
        encoder=dict(encoder.describe()),
        identity=identity_of(encoder, whitening),
        chunk=chunk,
        whitened=whitening is not None,
        id_type=id_type,
        pictures=pictures,
        arrays=begun_arrays(store, dim, pictures),
        version=__version__,
    )


def begun_arrays(store: str, dim: int, pictures: PictureRecord | None) -> dict[str, ArrayRecord]:
    """Return the arrays of a gallery without images."""
    places = {} if pictures is None else {PLACES: PLACES_RECORD}
    return {**gallery_records(store, dim), STAMPS: STAMPS_RECORD, **places}


def _check_plan(folder: Path, old: Manifest, new: Manifest) -> None:
    how = loading_call(old.encoder)
    if not is_module(old.encoder) and not is_imported(old.encoder):
        how += f"; on the command line {index_options(old.encoder)}"
    if old.store != new.store:
        how += f"; store={old.store!r}, --store {old.store}"
    remedy = f"use the same settings ({how}), or another folder"
    check_plan(folder, old, new, remedy)


def ids_of(folder: Path, manifest: Manifest, removed: Array | None = None) -> Ids:
    """Return the ids of a gallery's rows, all of them checked.

    Args:
        folder: of the gallery.
        manifest: which rows it has.
        removed: flags in place of its own.
    """
    blob, ends = (open_array(folder, key, manifest.arrays[key]) for key in ("ids", "id_ends"))
    record = manifest.arrays.get(REMOVED)
    if removed is None and record is not None:
        removed = open_array(folder, REMOVED, record)
    ids = Ids(folder, blob, ends, manifest.id_type, removed=removed)
    ids.check()
    return ids


def newly_gone(folder: Path, before: Manifest | None, after: Manifest) -> set[str]:
    """Return the ids of rows that are removed after a change and were not before; as text.

    Args:
        folder: of the gallery, which has the flags of both.
        before: None: there was none.
        after: the same rows first.
    """
    if before is None:
        return set()
    was = removed_flags(folder, before)
    gone = removed_flags(folder, after)[: len(was)] & ~was
    ids = ids_of(folder, after)
    return {str(ids[row]) for row in np.flatnonzero(gone).tolist()}


def whitening_of(folder: Path, manifest: Manifest) -> Whitening | None:
    """Return what is applied to vectors behind the encoder, if anything."""
    if not manifest.whitened:
        return None
    from patchrerank.encoders import Whitening

    return Whitening.load(folder / WHITENING)


def centroids_of(folder: Path, manifest: Manifest) -> Floats | None:
    """Return the centroids of a product quantiser, if there is one."""
    record = manifest.arrays.get("pq_centroids")
    if record is None or not record.shape[0]:
        return None
    return np.array(open_array(folder, "pq_centroids", record), dtype=np.float32)


def roots_differ(manifest: Manifest, root: str | None) -> bool:
    """Return whether a gallery holds images of another folder."""
    return manifest.images > 0 and manifest.root != root
