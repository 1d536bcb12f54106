"""Local descriptors in the HDF5 layout of AMES (ECCV 2024) and ELViS, read and written.

One dataset ``features`` ``(N, slots, 5 + D)``, float32 (AMES) or float16 (ELViS). Columns of a
slot: 0 and 1 the position, vertical before horizontal; 2 the number of the scale; 3 the mask, 1
in a padded slot; 4 the weight; then the descriptor. Slots are sorted by weight, strongest first;
padded ones come last and are zero but for the mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery.gallery import LOCAL, Gallery
from patchrerank.gallery.hdf5_reader import DATASET, META, Hdf5Descriptors
from patchrerank.gallery.local_manifest import LocalManifest
from patchrerank.gallery.local_rows import check_local_store
from patchrerank.gallery.local_store import LocalStore
from patchrerank.gallery.local_writer import open_local_writer
from patchrerank.hdf5_writing import hdf5_with, hdf5_written
from patchrerank.types import Floats, LocalDescriptors

SLOTS = 700
"""Slots an image has in the published files."""

BLOCK = 16
FILE = hdf5_with("an HDF5 file of local descriptors", DATASET)


def read_hdf5(path: str | Path, *, sizes: npt.ArrayLike | None = None) -> Hdf5Descriptors:
    """Open a file of local descriptors.

    Padded slots are left out, whatever stands in them; the others keep their order and values.

    Args:
        path: the file.
        sizes: ``(N, 2)`` width and height of each image in pixels, for files whose positions are
            pixels (those of CVNet); None where they lie in [0, 1].

    Raises:
        GalleryError: not such a file; when an image is read: values that are not finite, or
            positions outside [0, 1].
    """
    table = None if sizes is None else np.asarray(sizes, dtype=np.float32)
    return Hdf5Descriptors(Path(path), table)


def write_hdf5(
    path: str | Path,
    descriptors: LocalStore | Sequence[LocalDescriptors],
    *,
    slots: int = SLOTS,
    dtype: Literal["float16", "float32"] = "float16",
) -> None:
    """Write local descriptors for the programs of AMES and ELViS.

    The file appears whole or not at all. Of an image with more descriptors than slots the
    strongest are written.

    Args:
        path: the file; an earlier one is replaced, and whoever reads it keeps it.
        descriptors: of N images.
        slots: the same for all.
        dtype: ``float16`` (ELViS) or ``float32`` (AMES).

    Raises:
        SettingError: no slots, another dtype, or the file cannot be written or holds something
            else.
        GalleryError: no images, no descriptors at all, or of different dimensions.
    """
    if slots < 1 or dtype not in ("float16", "float32"):
        raise SettingError(
            f"slots must be at least 1 and dtype float16 or float32, got {slots} and {dtype!r}"
        )
    target = Path(path)
    dim = _dim_of(descriptors)
    shape = (len(descriptors), slots, META + dim)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    with hdf5_written(target, FILE, size) as file:
        data = file.create_dataset(
            DATASET, shape, dtype=dtype, chunks=(1, *shape[1:]), compression="gzip"
        )
        for row, item in enumerate(_each(descriptors)):
            data[row] = _slots(item, slots, dim, f"{target}: image {row}")


def import_hdf5(
    path: str | Path,
    target: Gallery | str | Path,
    *,
    store: str = "float16",
    identity: str = "",
    sizes: npt.ArrayLike | None = None,
) -> LocalStore:
    """Turn an HDF5 file into a local store.

    Args:
        path: the file.
        target: the gallery of the same images in the same order, or a folder for the store.
        store: ``float16``, ``int8``, ``binary`` or ``float32``.
        identity: of the dense encoder that made the descriptors; empty if nobody knows.
        sizes: see :func:`read_hdf5`.

    Raises:
        GalleryError: not such a file, another number of images than the gallery has, or a folder
            that already holds another store.
    """
    check_local_store(store)
    ids = target.ids if isinstance(target, Gallery) else None
    folder = target.folder / LOCAL if isinstance(target, Gallery) else Path(target)
    if isinstance(target, Gallery) and target.live_count < len(target):
        raise GalleryError(
            f"{target.folder}: images were removed from it; compact it first (patchrerank "
            f"compact {target.folder}), so that its rows are the file's images again"
        )
    numbering = target.manifest.numbering if isinstance(target, Gallery) else 0
    with read_hdf5(path, sizes=sizes) as images:
        if ids is not None and len(ids) != len(images):
            raise GalleryError(
                f"{path}: holds {len(images)} images, the gallery {len(ids)}; the same images in "
                "the same order are needed"
            )
        with open_local_writer(folder, _plan(images, store, identity, numbering)) as writer:
            for start in range(writer.manifest.images, len(images), BLOCK):
                block = images[start : start + BLOCK]
                writer.commit(block, None if ids is None else ids[start : start + BLOCK])
            writer.finish()
    return LocalStore(folder)


def _plan(images: Hdf5Descriptors, store: str, identity: str, numbering: int) -> LocalManifest:
    origin = {"spec": f"hdf5:{images.path.name}", "slots": int(images.slots)}
    return LocalManifest(
        dim=images.dim,
        store=store,
        encoder=dict(origin),
        identity=identity,
        fingerprint=f"{origin['spec']}:{len(images)}:{identity}",
        grids=(),
        chunk=BLOCK,
        numbering=numbering,
    )


def _each(descriptors: LocalStore | Sequence[LocalDescriptors]) -> Iterator[LocalDescriptors]:
    if isinstance(descriptors, LocalStore):
        return (descriptors.descriptors_of(row) for row in range(len(descriptors)))
    return iter(descriptors)


def _dim_of(descriptors: LocalStore | Sequence[LocalDescriptors]) -> int:
    if isinstance(descriptors, LocalStore):
        return descriptors.dim
    found = {int(item.vectors.shape[1]) for item in descriptors if len(item)}
    if len(found) != 1:
        raise GalleryError(
            f"local descriptors to write need one dimension, found {sorted(found) or 'none'}"
        )
    return found.pop()


def _slots(item: LocalDescriptors, slots: int, dim: int, where: str) -> Floats:
    if len(item) and item.vectors.shape[1] != dim:
        raise GalleryError(f"{where} has {item.vectors.shape[1]} dimensions instead of {dim}")
    table = np.zeros((slots, META + dim), dtype=np.float32)
    count = min(len(item), slots)
    table[count:, 3] = 1.0
    table[:count, :2] = item.positions[:count, ::-1]
    table[:count, 2] = item.scales[:count]
    table[:count, 4] = item.weights[:count]
    table[:count, META:] = item.vectors[:count]
    return table
