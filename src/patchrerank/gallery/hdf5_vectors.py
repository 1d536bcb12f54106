"""Vectors in one HDF5 file: ids, globals, patches, counts, boxes, sizes, local: data sets.

ILIAS' feature files are read, too: their ``index`` has the ids, their ``features`` the globals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.errors import GalleryError, short_reason, shown
from patchrerank.file_bounds import check_hdf5
from patchrerank.gallery.export_columns import (
    WHITENING_ARRAYS,
    Column,
    Record,
    packed_ids,
    read_record,
    record_of,
    whitening_of,
)
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.local_vectors import LocalVectors
from patchrerank.gallery.row_sources import RowSource
from patchrerank.gallery.vectors import Vectors
from patchrerank.hdf5_writing import hdf5_with, hdf5_written

if TYPE_CHECKING:
    import h5py

RECORD = "patchrerank"
"""Attribute of the file: what made the vectors."""
NEEDED = ("ids", "globals")
ROWS = ("globals", "patches", "boxes", "local/vectors", "local/places")
WHOLE = ("ids", "counts", "sizes", "local/counts")
ILIAS = {"ids": "index", "globals": "features"}
"""What ILIAS calls them."""
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
    whitening = whitening_of(gallery)
    groups = {*(name.split("/")[0] for name in columns), *(["whitening"] if whitening else [])}
    ours = hdf5_with("an export", "ids", *groups)
    with hdf5_written(target, ours, size) as file:
        file.attrs[RECORD] = record_of(gallery, columns)
        _write_ids(gallery, file)
        for name, array in whitening.items():
            file[f"whitening/{name}"] = array
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


def read_hdf5_vectors(path: Path, columns: Mapping[str, str]) -> Vectors:
    """Open a file's data sets; they are read block by block.

    Args:
        path: the file.
        columns: what data sets are called that are not called as an export calls them.

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
    called = {**{name: name for name in (*ROWS, *WHOLE)}, **columns}
    if "ids" not in file and "ids" not in columns and all(name in file for name in ILIAS.values()):
        called = {**called, **ILIAS, **columns}
    wanted = (*NEEDED, *columns)
    held = {key: _data_set(file, name, path) for key, name in called.items() if name in file}
    missing = next((called[key] for key in wanted if key not in held), None)
    if missing is not None:
        raise GalleryError(f"{path}: holds no data set {missing!r}; it has {shown(sorted(file))}")
    record = file.attrs.get(RECORD)
    whitening = partial(_whitening, file, path)
    made = Record() if record is None else read_record(str(record), str(path), whitening)
    found = {key: RowSource(held[key], f"{key} ({path})") for key in ROWS if key in held}
    found |= {key: _whole(held[key], key, path) for key in WHOLE if key in held}
    return Vectors(
        found["ids"],
        found["globals"],
        found.get("patches"),
        found.get("counts"),
        found.get("boxes"),
        made.regions,
        made.origin,
        found.get("sizes"),
        _local(found, made, path),
    )


def _local(found: Mapping[str, Any], made: Record, path: Path) -> LocalVectors | None:
    vectors, places = found.get("local/vectors"), found.get("local/places")
    if vectors is None:
        return None
    if places is None:
        raise GalleryError(f"{path}: has local descriptors, but no data set 'local/places'")
    return LocalVectors(vectors, places, found.get("local/counts"), made.local)


def _whitening(file: h5py.File, path: Path) -> dict[str, Any]:
    names = {name: f"whitening/{name}" for name in WHITENING_ARRAYS}
    there = {name: at for name, at in names.items() if at in file}
    return {name: _whole(_data_set(file, at, path), at, path) for name, at in there.items()}


def _data_set(file: h5py.File, name: str, path: Path) -> Any:
    import h5py

    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise GalleryError(f"{path}: {name} is no data set")
    if found.dtype.kind not in "OS":
        check_hdf5(found, path, GalleryError)
    return found


def _whole(data: Any, key: str, path: Path) -> Any:
    try:
        return data.asstr()[()] if data.dtype.kind in "OS" else np.asarray(data[()])
    except (TypeError, ValueError, OSError, UnicodeDecodeError) as error:
        raise GalleryError(f"{path}: {key} cannot be read ({short_reason(error)})") from error
