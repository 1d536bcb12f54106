"""Checking a gallery byte by byte and value by value; whatever is wrong, there is an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from tqdm import tqdm

from patchrerank.boxes import Floats
from patchrerank.errors import GalleryError
from patchrerank.gallery.backgrounds import BACKGROUNDS, WRITE
from patchrerank.gallery.checks import check_ends, check_files, found_by
from patchrerank.gallery.gallery import LOCAL, WHITENING, Gallery
from patchrerank.gallery.id_table import ID_TABLE
from patchrerank.gallery.identity import combined_identity
from patchrerank.gallery.ids import Ids
from patchrerank.gallery.local_manifest import read_local_manifest
from patchrerank.gallery.local_opening import held_local, how_to_go_on, is_half_written
from patchrerank.gallery.local_store import LocalStore
from patchrerank.gallery.local_verify import verify_local
from patchrerank.gallery.manifest import BUILDING, REMOVED
from patchrerank.gallery.places import PLACES
from patchrerank.gallery.shard_agreement import id_table_of
from patchrerank.gallery.shards import OWN_ARRAYS
from patchrerank.gallery.stores import EXACT_ARRAYS, RABITQ, split_store
from patchrerank.kernels.stores import RescoredStore
from patchrerank.types import Rows

BLOCK_ROWS = 16_384
NORM_TOLERANCE = {
    "float32": 1e-3,
    "float16": 3e-3,
    "int8": 2e-2,
    "pq": 1.0,
    **dict.fromkeys(RABITQ, 1.0),
}


def verify(gallery: Gallery, *, progress: bool = False) -> list[str]:
    """Check sizes, checksums, ids, counts, NaN/Inf, norms and boxes of a whole gallery.

    Whitening and identity are checked too, and local descriptors if it has any; of one of shards
    each shard is. Local descriptors that are sound but fewer than the images are no damage: see
    :func:`behind`. What opening checks (see :class:`Gallery`) has been checked before.

    Args:
        gallery: an open gallery.
        progress: show a progress bar.

    Returns:
        One sentence for each thing that is wrong, naming the array and the first bad row; empty
        if all is well.
    """
    checks = [
        _check_files,
        _check_ids,
        _check_removed,
        _check_ends,
        _check_vectors,
        _check_boxes,
        _check_places,
        _check_identity,
        _check_backgrounds,
        _check_local,
    ]
    if gallery.shards is not None:
        checks = [_check_own, _check_removed, _check_shards, _check_backgrounds]
    found: list[str] = []
    for check in tqdm(checks, desc="verify", disable=not progress):
        found += found_by(check, gallery)
    return found


def behind(gallery: Gallery) -> list[str]:
    """Return a sentence for what is sound, but not there for every image yet, and how to go on.

    Raises:
        GalleryError: what is there is damaged, or of other images, as :func:`verify` says.
    """
    local, made = gallery.place / LOCAL, gallery.manifest
    if not gallery.has_local:
        return []
    if is_half_written(local):
        begun, covered = read_local_manifest(local / BUILDING), 0
    else:
        begun = _held(gallery).manifest
        covered = begun.images
    if covered == made.images:
        return []
    lack, how = int((~gallery.removed[covered:]).sum()), how_to_go_on(gallery.folder, made, begun)
    return [f"{lack} images have no local descriptors; to go on {how}"]


def _check_files(gallery: Gallery) -> Iterator[str]:
    yield from check_files(gallery.folder, gallery.manifest.arrays)


def _check_own(gallery: Gallery) -> Iterator[str]:
    """Check the files that a gallery of shards has in its own folder."""
    records = gallery.manifest.arrays
    yield from check_files(
        gallery.folder, {name: records[name] for name in records.keys() & OWN_ARRAYS}
    )
    yield from _check_identity(gallery)


def _check_shards(gallery: Gallery) -> Iterator[str]:
    shards = list(gallery.shards or ())
    for shard in shards:
        yield from (f"{shard.folder}: {problem}" for problem in verify(shard))
    if not np.array_equal(gallery.array(ID_TABLE), id_table_of(shards, gallery.removed)):
        yield f"{ID_TABLE}: is not the table of these ids"
    for _ in _held(gallery).shards or () if gallery.has_local else ():
        pass  # each is opened, and refused if it was changed


def _check_ids(gallery: Gallery) -> Iterator[str]:
    kind, arrays = gallery.manifest.id_type, (gallery.array("ids"), gallery.array("id_ends"))
    removed = gallery.removed.astype(np.uint8)
    ids = Ids(gallery.folder, *arrays, kind, removed=removed)
    ids.check()
    table, twice = ids.new_table()
    if twice >= 0:
        yield f"ids: {ids[twice]!r} stands twice"
    elif ID_TABLE in gallery.manifest.arrays and not np.array_equal(gallery.array(ID_TABLE), table):
        yield f"{ID_TABLE}: is not the table of these ids"


def _check_removed(gallery: Gallery) -> Iterator[str]:
    if REMOVED in gallery.manifest.arrays:
        flags = np.asarray(gallery.array(REMOVED), dtype=np.int64)
        if (flags > 1).any():
            row = int(np.argmax(flags > 1))
            yield f"{REMOVED}: row {row} is {flags[row]}, neither 0 nor 1"


def _check_ends(gallery: Gallery) -> Iterator[str]:
    totals = {"patch_ends": gallery.manifest.patches, "id_ends": len(gallery.array("ids"))}
    for name, total in totals.items():
        yield from check_ends(name, gallery.array(name), len(gallery), total)


def _check_vectors(gallery: Gallery) -> Iterator[str]:
    stored, (store, exact) = gallery.patch_store, split_store(gallery.manifest.store)
    readers: list[tuple[str, int, Callable[[Rows], Floats], str]] = [
        ("globals", len(gallery), lambda rows: gallery.global_vectors[rows], "float32"),
    ]
    if isinstance(stored, RescoredStore):
        fine = EXACT_ARRAYS["patches"]
        readers.append((fine, len(stored), stored.exact.decode, exact))
        stored = stored.codes
    readers.append(("patches", len(stored), stored.decode, store))
    for name, count, read, kind in readers:
        for start in range(0, count, BLOCK_ROWS):
            block = read(np.arange(start, min(start + BLOCK_ROWS, count)))
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                yield f"{name}: NaN or infinite values in row {start + int(np.argmin(finite))}"
            off = np.abs(np.linalg.norm(np.nan_to_num(block), axis=1) - 1) > NORM_TOLERANCE[kind]
            if (off & finite).any():
                yield f"{name}: row {start + int(np.argmax(off & finite))} has not unit norm"


def _check_boxes(gallery: Gallery) -> Iterator[str]:
    boxes = np.asarray(gallery.boxes if gallery.has_boxes else gallery.boxes[:0])
    inside = ((boxes >= 0) & (boxes <= 1)).all(axis=1)
    good = inside & (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
    if not good.all():
        row = int(np.argmin(good))
        yield f"boxes: row {row} is {boxes[row].tolist()}, not a box within [0, 1]"
    sizes = np.asarray(gallery.sizes, dtype=np.int64)
    if (sizes[sizes.any(axis=1)] < 1).any():  # of vectors from elsewhere both are 0: unknown
        yield "sizes: an image has a side under one pixel"


def _check_places(gallery: Gallery) -> Iterator[str]:
    if gallery.manifest.pictures is None:
        return
    places = np.asarray(gallery.array(PLACES), dtype=np.int64)
    files = len(gallery.manifest.pictures.files)
    good = (places >= 0).all(axis=1) & (places[:, 0] < files)
    if not good.all():
        row = int(np.argmin(good))
        yield f"{PLACES}: row {row} is {places[row].tolist()}, of {files} files"


def _check_identity(gallery: Gallery) -> Iterator[str]:
    made, whitening = gallery.manifest, gallery.whitening
    if whitening is not None and whitening.dim != gallery.dim:
        yield f"{WHITENING}: makes {whitening.dim} dimensions, the gallery has {gallery.dim}"
    fingerprint = made.encoder.get("fingerprint")
    if isinstance(fingerprint, str):
        whole = fingerprint if whitening is None else combined_identity(fingerprint, whitening)
        if whole != made.identity:
            yield f"identity: {made.identity[:12]}… is not that of the encoder and its whitening"


def _check_backgrounds(gallery: Gallery) -> Iterator[str]:
    if gallery.has_backgrounds:
        held = {str(gallery.ids[row]) for row in gallery.live}
        try:
            said = gallery.backgrounds.problems(held.__contains__)
            again = f"{WRITE} {gallery.folder}`"
            yield from (f"{BACKGROUNDS}: {problem}; {again}" for problem in said)
        except GalleryError as error:
            yield str(error)


def _check_local(gallery: Gallery) -> Iterator[str]:
    if gallery.has_local and not is_half_written(gallery.place / LOCAL):
        try:
            yield from (f"local: {problem}" for problem in verify_local(_held(gallery)))
        except GalleryError as error:
            yield f"local: {error}"


def _held(gallery: Gallery) -> LocalStore:
    """Open local descriptors that may be behind."""
    return held_local(gallery.place / LOCAL, gallery.folder, gallery.manifest, gallery.ids_crc)
