"""Vectors in one place: what an export wrote, others' files of the same layout, and tables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from patchrerank.errors import GalleryError, SettingError, near_matches
from patchrerank.gallery.arrow_columns import COLUMNS
from patchrerank.gallery.arrow_files import ArrowFile
from patchrerank.gallery.arrow_vectors import read_columns
from patchrerank.gallery.export_columns import Record, read_record
from patchrerank.gallery.exporting import RECORD_FILE
from patchrerank.gallery.gallery import WHITENING
from patchrerank.gallery.hdf5_vectors import read_hdf5_vectors
from patchrerank.gallery.lance_table import LanceTable
from patchrerank.gallery.local_vectors import LocalVectors, read_local_folder
from patchrerank.gallery.vectors import ENDINGS, Vectors, format_of
from patchrerank.numpy_files import read_npz


def read_vectors(
    path: str | Path, columns: Mapping[str, str] | None = None, *, version: int | None = None
) -> Vectors:
    """Find the arrays of a folder of ``.npy`` files, of one file, or of a LanceDB table.

    Args:
        path: a folder; or a file ``.h5``, ``.hdf5``, ``.parquet``, ``.arrow`` or ``.feather``; or
            the folder of a LanceDB table, ``DATABASE/TABLE.lance``.
        columns: what columns (or data sets) are called, where they are not called ``ids``,
            ``globals``, ``patches``, ``boxes``, ``sizes``, ``local`` and ``places``, or those of
            a type that only one has. Of HDF5 ``local/vectors``, ``local/places`` and counts, too.
        version: of a LanceDB table; None: the newest.

    Raises:
        GalleryError: something is missing, or of another type; names it.
        SettingError: columns that there are none of.
        MissingExtraError: pyarrow or lancedb is not installed.
    """
    where, named = Path(path), dict(columns or {})
    kind = format_of(where)
    if kind != "lance" and not where.exists():
        raise GalleryError(f"{where}: no such file or folder")
    if version is not None and kind != "lance":
        raise SettingError(f"{where}: has no versions; only LanceDB tables (.lance) do")
    if kind == "hdf5" and not where.is_dir():
        return read_hdf5_vectors(where, named)
    strange = sorted(set(named) - set(COLUMNS))
    if strange:
        raise SettingError(
            f"column {strange[0]!r} is unknown{near_matches(strange[0], COLUMNS)}; use "
            f"{', '.join(COLUMNS)}"
        )
    if kind == "lance":
        return read_columns(LanceTable(where, version), named)
    if kind is not None and not where.is_dir():
        return read_columns(ArrowFile(where), named)
    if not where.is_dir():
        ends = ", ".join(end for ends in ENDINGS.values() for end in ends)
        raise GalleryError(
            f"{where}: is no folder with globals.npy, patches.npy and ids, and its name does not "
            f"end in {ends}"
        )
    if named:
        raise SettingError(f"{where}: a folder of .npy files has no columns to be named")
    return _read_folder(where)


def _read_folder(where: Path) -> Vectors:
    names = [where / f"ids.{suffix}" for suffix in ("npy", "json", "txt")]
    found = [name for name in names if name.is_file()]
    if len(found) != 1:
        held = " and ".join(name.name for name in found) or "no ids (ids.json, ids.npy, ids.txt)"
        raise GalleryError(f"{where}: holds {held}; one file of ids is needed")
    names = [where / f"{name}.npy" for name in ("globals", "patches", "counts", "boxes", "sizes")]
    there: dict[str, Any] = {name.stem: name for name in names if name.is_file()}
    if "globals" not in there:
        raise GalleryError(f"{where}: holds no globals.npy")
    made = _record(where / RECORD_FILE)
    return Vectors(
        found[0],
        there["globals"],
        there.get("patches"),
        there.get("counts"),
        there.get("boxes"),
        made.regions,
        made.origin,
        there.get("sizes"),
        _local(where / "local", made),
    )


def _local(folder: Path, made: Record) -> LocalVectors | None:
    if not folder.is_dir():
        return None
    found = read_local_folder(folder)
    return LocalVectors(found.vectors, found.places, found.counts, made.local)


def _record(path: Path) -> Record:
    if not path.is_file():
        return Record()
    try:
        text = path.read_text(encoding="utf-8")
        return read_record(text, str(path), partial(_whitening, path.with_name(WHITENING)))
    except (OSError, UnicodeDecodeError) as error:
        raise GalleryError(f"{path}: cannot be read ({error})") from error


def _whitening(path: Path) -> Mapping[str, Any]:
    return read_npz(path, GalleryError) if path.is_file() else {}
