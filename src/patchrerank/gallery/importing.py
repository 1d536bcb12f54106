"""A gallery out of vectors that somebody has already: arrays and ``.npy`` files, of any size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.addresses import place_of
from patchrerank.errors import GalleryError, SettingError, described
from patchrerank.gallery.arrays import ArrayFiles
from patchrerank.gallery.faiss_rows import open_globals
from patchrerank.gallery.fresh_folder import fresh_folder
from patchrerank.gallery.gallery import LOCAL, WHITENING, Gallery
from patchrerank.gallery.id_table import write_table
from patchrerank.gallery.import_columns import VectorColumns, dim_of
from patchrerank.gallery.import_counts import counts_of
from patchrerank.gallery.import_ids import PackedIds
from patchrerank.gallery.import_local import ImportedLocal
from patchrerank.gallery.import_origin import Origin, origin_of
from patchrerank.gallery.import_regions import ImportBoxes
from patchrerank.gallery.import_sizes import Sizes, sizes_of
from patchrerank.gallery.import_writing import append_all, syncing
from patchrerank.gallery.local_vectors import local_origin_of, open_local_source
from patchrerank.gallery.manifest import MANIFEST, Manifest
from patchrerank.gallery.row_sources import RowSource, open_rows
from patchrerank.gallery.stores import (
    UNTRAINED,
    check_store,
    gallery_records,
    split_store,
)
from patchrerank.version import __version__

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.regions import Regions

CHUNK = 16
"""Images that are committed together where pictures are added later."""


def import_gallery(
    folder: str | Path,
    ids: Any,
    global_vectors: Any,
    patches: Any = None,
    counts: Any = None,
    *,
    boxes: Any = None,
    regions: Regions | str | None = None,
    sizes: Any = None,
    local: Any = None,
    local_store: str = "float16",
    local_encoder: DenseEncoder | str | None = None,
    local_pixels: bool = False,
    encoder: Encoder | str | Origin,
    normalise: bool = False,
    lossy: bool = False,
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
            come back as they were given. Of an index: ``ids[label]``, or ``{label: id}`` (also
            in ``.json``), or its labels in any order; None: its labels, rising. All other arrays
            are in the order of the ids.
        global_vectors: ``(N, d)`` float16, float32 or float64, unit norm: an array, a ``.npy``
            file, or whatever has ``shape``, ``dtype`` and slices; or a faiss index or a file of
            one, whose vectors are read back (``patchrerank.faiss_vectors`` says of which types).
        patches: ``(N, P, d)``, or ``(T, d)`` with ``counts``; likewise arrays or files; None:
            there are none.
        counts: how many patches each image has: None (P), a number, or an array or ``.npy`` file
            with one number an image, or with where the patches of each end. Of ``(N, P, d)`` the
            first so many of each image count, and padding is left out.
        boxes: where each patch is, ``x0, y0, x1, y1`` in [0, 1] of the upright image: as many as
            ``patches``, in the same layout.
        regions: what made the patches, such as ``grid:3``. Without ``boxes`` it gives them, and
            must yield as many as each image has, whatever its size; beside them it is recorded.
            With neither, patches have no boxes, and the box of a hit is None.
        sizes: ``(N, 2)`` width and height of each upright picture in pixels, an array or
            ``.npy``; None: not known.
        local: local descriptors: :class:`LocalVectors`, a folder with ``vectors.npy``,
            ``places.npy`` and ``counts.npy``, or an HDF5 file of AMES; None: there are none.
        local_store: how they are stored: ``float16``, ``int8``, ``binary`` or ``float32``.
        local_encoder: what made them: what ``load_dense_encoder`` returned, or any text, which
            ``Queries(local_encoder=…)`` is held against; None: nobody knows.
        local_pixels: places are in pixels, and divided by ``sizes``.
        encoder: what made the vectors: what ``load_encoder`` returned, its spec, or any other
            text. Of one of ours, query pictures are encoded; of a text, queries come as vectors.
        normalise: divide each vector by its norm; otherwise all must have unit norm.
        lossy: take vectors that an index holds only as codes (SQ, PQ, RaBitQ) or turned (OPQ,
            PCA): rougher than what was added to it. Otherwise they are refused.
        store: how patch vectors are stored: ``float16``, ``float32`` or ``int8``.
        id_type: ``text``, ``int`` or ``uuid``, where texts stand for numbers or UUIDs.
        root: the folder that the pictures lie in, under their ids, for rerankers that look at
            them again.
        progress: show a progress bar.

    Raises:
        GalleryError: ids that are empty, of different kinds, or stand twice; arrays of another
            shape or dtype; counts that do not add up; a vector that holds NaN, has no direction
            or not unit norm; regions of another number; an index that does not give its vectors
            back; a folder that holds something else. Names the array and the row.
        RegionError: malformed boxes, or an unknown spec.
        SettingError: an unknown store, or a text that names nothing.
        EncoderError: the encoder of a spec cannot be loaded.
    """
    if not isinstance(folder, str | os.PathLike):
        raise GalleryError(f"a gallery is written to a folder, not to {described(folder)}")
    if split_store(check_store(store))[0] == "pq":
        raise SettingError(UNTRAINED)
    packed, whole = open_globals(ids, global_vectors, id_type, lossy=lossy)
    parts = _patches(patches, whole)
    dim = dim_of(whole, parts, len(packed))
    ends = np.cumsum(counts_of(len(packed), parts, 0 if patches is counts is None else counts))
    places = ImportBoxes.of(boxes, regions, parts, ends, packed)
    pictures = sizes_of(sizes, packed)
    found = _local(local, packed, pictures, local_store, local_encoder, local_pixels, normalise)
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
        whitened=origin.whitening is not None,
        whitening=origin.learned,
        id_type=packed.kind,
        version=__version__,
    )
    with fresh_folder(Path(folder)):
        if origin.whitening is not None:
            origin.whitening.save(Path(folder) / WHITENING)
        vectors = VectorColumns(whole, parts, ends, packed, store, normalise, progress)
        _write(Path(folder), made, vectors, pictures, places, found)
    return Gallery(folder)


def _patches(patches: Any, whole: RowSource) -> RowSource:
    if patches is None:
        return RowSource(np.empty((0, whole.shape[-1]), dtype=np.float32), "patches")
    return open_rows(patches, "patches")


def _local(
    local: Any,
    packed: PackedIds,
    pictures: Sizes | None,
    store: str,
    encoder: DenseEncoder | str | None,
    pixels: bool,
    normalise: bool,
) -> ImportedLocal | None:
    """Return the local descriptors, checked as far as their shapes go."""
    if local is None:
        return None
    if pixels and pictures is None:
        raise SettingError("local_pixels: places in pixels are divided by sizes; pass sizes")
    sides = np.asarray(pictures, dtype=np.float32) if pixels else None
    source = open_local_source(local, len(packed), sides)
    return ImportedLocal(source, local_origin_of(encoder, source), store, packed, normalise)


def _write(
    folder: Path,
    made: Manifest,
    vectors: VectorColumns,
    pictures: Sizes | None,
    places: ImportBoxes,
    local: ImportedLocal | None,
) -> None:
    records = gallery_records(made.store, made.dim)
    if not places:
        del records["boxes"]
    files, packed = ArrayFiles(folder, records), vectors.packed
    try:
        with syncing(files), vectors.copied_to(files) as columns:
            _ = packed.table  # no id stands twice
            append_all(files, columns.blocks())
            for block in places.blocks():
                files.append({"boxes": block})
            files.append({"ids": packed.blob, "id_ends": packed.ends, "patch_ends": vectors.ends})
            unknown = np.zeros((len(packed), 2), dtype=np.int32)
            files.append({"sizes": unknown if pictures is None else pictures})
    finally:
        files.close()
    if local is not None:
        local.write(folder / LOCAL, files.records["ids"].crc32)
    whole = write_table(folder, made.with_arrays(files.records), None, packed.table)
    whole.write(folder / MANIFEST)


def _root(root: str | Path | None) -> str | None:
    if root is None:
        return None
    if not place_of(root).is_dir():
        raise GalleryError(f"{root}: there is no such folder of pictures")
    return str(place_of(root).resolve())
