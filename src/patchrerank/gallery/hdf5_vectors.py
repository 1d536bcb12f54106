"""Vectors in one HDF5 file: ids, globals, patches, counts and boxes, a data set each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.errors import GalleryError, short_reason, shown
from patchrerank.file_bounds import check_hdf5
from patchrerank.gallery.export_columns import Column, packed_ids, read_record, record_of
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.row_sources import RowSource
from patchrerank.gallery.vectors import Vectors
from patchrerank.hdf5_writing import hdf5_with, hdf5_written

if TYPE_CHECKING:
    import h5py

RECORD = "patchrerank"
"""Attribute of the file: what made the vectors."""
NEEDED, OPTIONAL = ("ids", "globals", "patches"), ("counts", "boxes")
TEXT_BYTES = 64
"""Bytes that an id of text is reckoned with."""


def write_hdf5_vectors(
    gallery: Gallery, target: Path, columns: dict[str, Column], told: Callable[[int], object]
) -> None:
    """Write ids (text, int64, or uint8 ``(N, 16)`` for UUIDs) and columns, a data set each.

    Raises:
        GalleryError: an id that HDF5 cannot hold: one with a null character.
    """
    size = sum(column.nbytes for column in columns.values()) + TEXT_BYTES * gallery.live_count
    ours = hdf5_with("an export", "ids", *columns)
    with hdf5_written(target, ours, size) as file:
        file.attrs[RECORD] = record_of(gallery)
        _write_ids(gallery, file)
        for name, column in columns.items():
            data, start = file.create_dataset(name, column.shape, dtype=column.dtype), 0
            for block in column.blocks():
                data[start : start + len(block)] = block
                start += len(block)
                told(block.nbytes)


def _write_ids(gallery: Gallery, file: h5py.File) -> None:
    import h5py

    packed = packed_ids(gallery)
    if packed is not None:
        file["ids"] = packed
        return
    bad = next((item for item in gallery.ids.living() if "\0" in item), None)
    if bad is not None:
        raise GalleryError(
            f"{gallery.folder}: the id {shown(bad)} holds a null character, which HDF5 cannot "
            "keep; export it as npy"
        )
    file.create_dataset("ids", data=list(gallery.ids.living()), dtype=h5py.string_dtype())


def read_hdf5_vectors(path: Path) -> Vectors:
    """Open a file's data sets; they are read block by block.

    Raises:
        GalleryError: not such a file, a data set is missing, or of no use; names it.
    """
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise GalleryError(f"{path}: not an HDF5 file that can be read ({error})") from error
    except RuntimeError as error:
        raise GalleryError(f"{path}: damaged HDF5 file ({short_reason(error)})") from error
    held = {name: _data_set(file, name, path) for name in (*NEEDED, *OPTIONAL) if name in file}
    missing = next((name for name in NEEDED if name not in held), None)
    if missing is not None:
        raise GalleryError(f"{path}: holds no data set {missing!r}; it has {shown(sorted(file))}")
    record = file.attrs.get(RECORD)
    origin, regions = (None, None) if record is None else read_record(str(record), str(path))
    rows = {
        name: RowSource(held[name], f"{name} ({path})")
        for name in ("globals", "patches", "boxes")
        if name in held
    }
    counts = np.asarray(held["counts"][()]) if "counts" in held else None
    return Vectors(
        _ids(held["ids"], path),
        rows["globals"],
        rows["patches"],
        counts,
        rows.get("boxes"),
        regions,
        origin,
    )


def _data_set(file: h5py.File, name: str, path: Path) -> Any:
    import h5py

    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise GalleryError(f"{path}: {name} is no data set")
    if name != "ids":
        check_hdf5(found, path, GalleryError)
    return found


def _ids(data: Any, path: Path) -> Any:
    try:
        return data.asstr()[()] if data.dtype.kind in "OS" else data[()]
    except (TypeError, ValueError, OSError, UnicodeDecodeError) as error:
        raise GalleryError(f"{path}: ids cannot be read ({short_reason(error)})") from error
