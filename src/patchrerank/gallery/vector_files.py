"""Vectors in one place: what an export wrote, and others' files of the same layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrow_vectors import read_arrow_vectors
from patchrerank.gallery.export_columns import read_record
from patchrerank.gallery.exporting import RECORD_FILE
from patchrerank.gallery.hdf5_vectors import read_hdf5_vectors
from patchrerank.gallery.import_origin import Origin
from patchrerank.gallery.vectors import Vectors

READERS: dict[str, Callable[[Path], Vectors]] = {
    ".h5": read_hdf5_vectors,
    ".hdf5": read_hdf5_vectors,
    ".parquet": read_arrow_vectors,
    ".arrow": read_arrow_vectors,
    ".feather": read_arrow_vectors,
}
"""Suffix of a file → what reads it."""


def read_vectors(path: str | Path) -> Vectors:
    """Find the arrays of a folder of ``.npy`` files, or of one file.

    Args:
        path: a folder, or a file with one of the suffixes in ``READERS``.

    Raises:
        GalleryError: something is missing; names it.
    """
    where = Path(path)
    if where.suffix.lower() in READERS and not where.is_dir():
        return READERS[where.suffix.lower()](where)
    if not where.is_dir():
        raise GalleryError(
            f"{where}: is no folder with globals.npy, patches.npy and ids, and its name does not "
            f"end in {', '.join(READERS)}"
        )
    return _read_folder(where)


def _read_folder(where: Path) -> Vectors:
    names = [where / f"ids.{suffix}" for suffix in ("npy", "json", "txt")]
    found = [name for name in names if name.is_file()]
    if len(found) != 1:
        held = " and ".join(name.name for name in found) or "no ids (ids.json, ids.npy, ids.txt)"
        raise GalleryError(f"{where}: holds {held}; one file of ids is needed")
    arrays = {name: where / f"{name}.npy" for name in ("globals", "patches", "counts", "boxes")}
    there: dict[str, Any] = {name: file for name, file in arrays.items() if file.is_file()}
    for name in ("globals", "patches"):
        if name not in there:
            raise GalleryError(f"{where}: holds no {name}.npy")
    origin, regions = _record(where / RECORD_FILE)
    return Vectors(
        found[0],
        there["globals"],
        there["patches"],
        there.get("counts"),
        there.get("boxes"),
        regions,
        origin,
    )


def _record(path: Path) -> tuple[Origin | None, str | None]:
    if not path.is_file():
        return None, None
    try:
        return read_record(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise GalleryError(f"{path}: cannot be read ({error})") from error
