"""A gallery out of vectors that somebody has already: arrays and ``.npy`` files, of any size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from patchrerank.errors import GalleryError, SettingError, described
from patchrerank.gallery.ahead import one_ahead
from patchrerank.gallery.arrays import Array, ArrayFiles
from patchrerank.gallery.fresh_folder import fresh_folder
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.id_table import write_table
from patchrerank.gallery.import_checks import VectorChecks
from patchrerank.gallery.import_counts import counts_of
from patchrerank.gallery.import_ids import PackedIds, pack_ids
from patchrerank.gallery.import_origin import Origin, origin_of
from patchrerank.gallery.import_regions import ImportBoxes
from patchrerank.gallery.manifest import MANIFEST, Manifest
from patchrerank.gallery.row_sources import RowSource, open_rows
from patchrerank.gallery.stores import (
    FLOATS,
    UNTRAINED,
    check_store,
    gallery_records,
    store_columns,
)
from patchrerank.types import Rows
from patchrerank.version import __version__

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder
    from patchrerank.regions import Regions

CHUNK = 16
"""Images that are committed together where pictures are added later."""


def import_gallery(
    folder: str | Path,
    ids: Any,
    global_vectors: Any,
    patches: Any,
    counts: Any = None,
    *,
    boxes: Any = None,
    regions: Regions | str | None = None,
    encoder: Encoder | str | Origin,
    normalise: bool = False,
    store: str = "float16",
    id_type: str | None = None,
    root: str | Path | None = None,
    progress: bool = True,
) -> Gallery:
    """Write a gallery of vectors that were made elsewhere.

    Files are read block by block and never held whole. The gallery appears whole or not at all:
    what is refused leaves nothing behind, and a run that is killed no gallery; the same call
    again begins anew.

    Args:
        folder: the gallery directory; absent, empty, or left by a run that was killed.
        ids: N texts, whole numbers (64 bits) or UUIDs, all of one kind: a list, an array (UUIDs
            also as uint8 ``(N, 16)``), or a file ``.npy``, ``.json`` or with one id a line. They
            come back as they were given.
        global_vectors: ``(N, d)`` float16, float32 or float64, unit norm: an array, a ``.npy``
            file, or whatever has ``shape``, ``dtype`` and slices.
        patches: ``(N, P, d)``, or ``(T, d)`` with ``counts``; likewise.
        counts: how many patches each image has: None (P), a number, or an array or ``.npy`` file
            with one number an image, or with where the patches of each end. Of ``(N, P, d)`` the
            first so many of each image count, and padding is left out.
        boxes: where each patch is, ``x0, y0, x1, y1`` in [0, 1] of the upright image: as many as
            ``patches``, in the same layout.
        regions: what made the patches, such as ``grid:3``. Without ``boxes`` it gives them, and
            must yield as many as each image has, whatever its size; beside them it is recorded.
            With neither, patches have no boxes, and the box of a hit is None.
        encoder: what made the vectors: what ``load_encoder`` returned, its spec, or any other
            text. Of one of ours, query pictures are encoded; of a text, queries come as vectors.
        normalise: divide each vector by its norm; otherwise all must have unit norm.
        store: how patch vectors are stored: ``float16``, ``float32`` or ``int8``.
        id_type: ``text``, ``int`` or ``uuid``, where texts stand for numbers or UUIDs.
        root: the folder that the pictures lie in, under their ids, for rerankers that look at
            them again.
        progress: show a progress bar.

    Raises:
        GalleryError: ids that are empty, of different kinds, or stand twice; arrays of another
            shape or dtype; counts that do not add up; a vector that holds NaN, has no direction
            or not unit norm; regions of another number; a folder that holds something else.
            Names the array and the row.
        RegionError: malformed boxes, or an unknown spec.
        SettingError: an unknown store, or a text that names nothing.
        EncoderError: the encoder of a spec cannot be loaded.
    """
    if not isinstance(folder, str | os.PathLike):
        raise GalleryError(f"a gallery is written to a folder, not to {described(folder)}")
    if check_store(store) == "pq":
        raise SettingError(UNTRAINED)
    packed = pack_ids(ids, id_type)
    whole, local = open_rows(global_vectors, "globals"), open_rows(patches, "patches")
    dim = _dim_of(whole, local, len(packed))
    ends = np.cumsum(counts_of(len(packed), local, counts))
    places = ImportBoxes.of(boxes, regions, local, ends, packed)
    origin = origin_of(encoder)
    origin.check(dim)
    made = Manifest(
        dim=dim,
        store=store,
        regions=places.spec,
        encoder=dict(origin.encoder),
        identity=origin.identity,
        chunk=CHUNK,
        root=_root(root),
        id_type=packed.kind,
        version=__version__,
    )
    with fresh_folder(Path(folder)):
        _write(
            Path(folder),
            made,
            packed,
            ends,
            places,
            _columns(whole, local, ends, packed, store, normalise=normalise, progress=progress),
        )
    return Gallery(folder)


def _columns(
    whole: RowSource,
    local: RowSource,
    ends: Rows,
    packed: PackedIds,
    store: str,
    *,
    normalise: bool,
    progress: bool,
) -> Iterator[dict[str, Array]]:
    """Yield what is appended to the arrays of vectors, block by block."""
    total = len(whole) + int(ends[-1])
    with tqdm(total=total, unit="vector", desc="import", disable=not progress) as bar:
        check = VectorChecks(whole.name, packed, np.arange(1, len(packed) + 1), normalise)
        for block, first in _numbered(whole.blocks()):
            yield {"globals": check.checked(block, first)}
            bar.update(len(block))
        check = VectorChecks(local.name, packed, ends, normalise)
        for block, first in _numbered(local.blocks(np.diff(ends, prepend=0))):
            vectors = check.checked(block, first)
            plain = vectors if store in FLOATS else np.asarray(vectors, dtype=np.float32)
            yield store_columns(store, plain, None)
            bar.update(len(block))


def _numbered(blocks: Iterator[Any]) -> Iterator[tuple[Any, int]]:
    """Yield each block with the number of its first row."""
    first = 0
    for block in blocks:
        yield block, first
        first += len(block)


def _write(
    folder: Path,
    made: Manifest,
    packed: PackedIds,
    ends: Rows,
    places: ImportBoxes,
    columns: Iterator[dict[str, Array]],
) -> None:
    records = gallery_records(made.store, made.dim)
    if not places:
        del records["boxes"]
    files = ArrayFiles(folder, records)
    try:
        _append(files, columns)
        for block in places.blocks():
            files.append({"boxes": block})
        files.append({"ids": packed.blob, "id_ends": packed.ends, "patch_ends": ends})
        files.append({"sizes": np.zeros((len(packed), 2), dtype=np.int32)})
        files.flush(durable=True)
    finally:
        files.close()
    whole = write_table(folder, made.with_arrays(files.records), None)
    whole.write(folder / MANIFEST)


def _append(files: ArrayFiles, columns: Iterator[dict[str, Array]]) -> None:
    """Append all; the disk takes what is written while more is read, checked and written."""
    with ThreadPoolExecutor(1) as pool:
        syncing = pool.submit(files.flush, durable=True)
        for arrays in one_ahead(columns):
            files.append(arrays)
            if syncing.done():
                syncing.result()
                syncing = pool.submit(files.flush, durable=True)
        syncing.result()


def _dim_of(whole: RowSource, local: RowSource, images: int) -> int:
    """Return the dimensions of all vectors."""
    for source, shapes in ((whole, (2,)), (local, (2, 3))):
        if source.dtype.kind != "f" or source.dtype.itemsize > 8:
            raise GalleryError(
                f"{source.name}: holds {source.dtype}; vectors are float16, float32 or float64"
            )
        if len(source.shape) not in shapes or not source.shape[-1]:
            use = "(N, d)" if source is whole else "(N, P, d), or (T, d) with counts"
            raise GalleryError(f"{source.name}: has the shape {source.shape}; use {use}")
    if len(whole) != images:
        raise GalleryError(f"{whole.name}: {len(whole)} vectors, but there are {images} ids")
    if whole.shape[-1] != local.shape[-1]:
        raise GalleryError(
            f"{whole.name}: {whole.shape[-1]} dimensions, but {local.name} has {local.shape[-1]}; "
            "a query is compared with both"
        )
    return whole.shape[-1]


def _root(root: str | Path | None) -> str | None:
    if root is None:
        return None
    if not Path(root).is_dir():
        raise GalleryError(f"{root}: there is no such folder of pictures")
    return str(Path(root).resolve())
