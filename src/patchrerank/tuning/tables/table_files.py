"""A score table on disk: a folder with ``manifest.json``, two files of ids, and ``.npy`` arrays.

The manifest names every other file, with its checksum, and is replaced atomically; a file's name
holds its checksum, so that new scores are written beside the old and count only once the
manifest names them. A killed write leaves the table as it was. Nothing is pickled.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import TableError
from patchrerank.gallery.arrays import crc_of
from patchrerank.json_files import read_json
from patchrerank.numpy_files import map_npy
from patchrerank.tuning.tables._table_manifest import (
    FORMAT,
    IDS,
    REMEDY,
    Manifest,
    convention_of,
    costs_of,
    read_table_manifest,
)
from patchrerank.tuning.tables.score_table import BY_QUERY, BY_RERANKER, ScoreTable
from patchrerank.tuning.tables.table_folder import (
    BUILDING,
    DATA,
    MANIFEST,
    make_folder,
    write_durably,
)
from patchrerank.types import Floats
from patchrerank.version import __version__


def save_table(table: ScoreTable, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write a table; the folder is made, and complete or untouched whatever happens.

    Args:
        table: what is written.
        folder: where.
        overwrite: replace the table that is there.

    Raises:
        TableError: the folder holds a table and ``overwrite`` is False, or other files.
    """
    where = Path(folder)
    make_folder(where)
    if (where / MANIFEST).exists() and not overwrite:
        raise TableError(f"{where}: a score table is there already; choose another folder")
    manifest: Manifest = {"format": FORMAT, "version": __version__, "files": {}}
    for name in IDS:
        content = json.dumps(getattr(table, name)).encode()
        manifest["files"][name] = _write(where, name, "json", content)
    for name in BY_QUERY:
        manifest["files"][name] = write_array(where, name, getattr(table, name))
    for field in BY_RERANKER:
        arrays: Mapping[str, Floats] = getattr(table, field)
        manifest[field] = list(arrays)
        for number, array in enumerate(arrays.values()):
            key = f"{field}-{number}"
            manifest["files"][key] = write_array(where, key, array)
    manifest |= {
        "costs": {name: asdict(cost) for name, cost in table.costs.items()},
        "list_depths": dict(table.list_depths),
        "convention": asdict(table.convention),
        "fingerprint": table.fingerprint,
        "about": dict(table.about),
    }
    write_manifest(where, manifest)


def load_table(folder: str | Path, *, verify: bool = True) -> ScoreTable:
    """Open a table; its arrays are memory-mapped, read-only.

    Args:
        folder: written by :func:`save_table` or :func:`~patchrerank.tuning.build_table`.
        verify: compare all checksums first, which reads every file once.

    Raises:
        TableError: no table, a half-written one, of another format, or a file that is missing or
            damaged; the message names it.
    """
    where = Path(folder)
    manifest = read_manifest(where)
    while True:
        try:
            return _load(where, manifest, verify)
        except TableError:
            newer = read_manifest(where)
            if newer == manifest:
                raise
            manifest = newer  # somebody filled in scores meanwhile; the old files are gone


def _load(where: Path, manifest: Manifest, verify: bool) -> ScoreTable:
    try:
        held: dict[str, Any] = {name: _read_ids(where, manifest, name, verify) for name in IDS}
        for name in BY_QUERY:
            held[name] = _read_array(where, manifest, name, verify)
        for field in BY_RERANKER:
            held[field] = {
                name: _read_array(where, manifest, f"{field}-{number}", verify)
                for number, name in enumerate(manifest[field])
            }
        held |= {"costs": costs_of(manifest), "convention": convention_of(manifest)}
        held |= {name: manifest[name] for name in ("list_depths", "fingerprint", "about")}
        return ScoreTable(**held)
    except TableError as error:
        named = str(error).startswith(str(where))
        raise error if named else TableError(f"{where}: {error}; {REMEDY}") from error


def write_array(folder: Path, name: str, array: npt.NDArray[Any]) -> dict[str, Any]:
    """Write ``name-<checksum>.npy``, durably, and return its record for the manifest."""
    buffer = BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    record = _write(folder, name, "npy", buffer.getvalue())
    return record | {"dtype": array.dtype.str, "shape": list(array.shape)}


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest's content.

    Raises:
        TableError: it is missing, or :func:`read_table_manifest` refuses it.
    """
    path = folder / MANIFEST
    if not path.exists():
        half = (folder / BUILDING).is_file()
        what = "this table is half-built; build it again to finish it" if half else "no such file"
        raise TableError(f"{path}: {what}")
    return read_table_manifest(path)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest atomically, and remove the files that it no longer names."""
    write_durably(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    named = {record["file"] for record in manifest["files"].values()}
    for path in folder.iterdir():
        if DATA.fullmatch(path.name) and path.name not in named:
            path.unlink(missing_ok=True)


def _write(folder: Path, name: str, suffix: str, content: bytes) -> dict[str, Any]:
    crc = zlib.crc32(content)
    file = f"{name}-{crc:08x}.{suffix}"
    write_durably(folder / file, content)
    return {"file": file, "bytes": len(content), "crc32": crc}


def _checked(folder: Path, manifest: Manifest, name: str, verify: bool) -> Path:
    """Return the path of a file after comparing it with its record."""
    record = manifest["files"][name]
    path = folder / Path(record["file"]).name
    actual = path.stat().st_size if path.is_file() else -1
    if actual != record["bytes"]:
        what = "is missing" if actual < 0 else f"has {actual} bytes"
        raise TableError(f"{path}: {what}, the manifest says {record['bytes']}; {REMEDY}")
    if verify and crc_of(path, actual) != record["crc32"]:
        raise TableError(f"{path}: the checksum differs from the manifest's; {REMEDY}")
    return path


def _read_ids(folder: Path, manifest: Manifest, name: str, verify: bool) -> tuple[str, ...]:
    path = _checked(folder, manifest, name, verify)
    ids = read_json(path, TableError)
    if not isinstance(ids, list):
        raise TableError(f"{path}: holds no list of ids; {REMEDY}")
    return tuple(ids)


def _read_array(folder: Path, manifest: Manifest, name: str, verify: bool) -> npt.NDArray[Any]:
    path, record = _checked(folder, manifest, name, verify), manifest["files"][name]
    try:
        array = map_npy(path, TableError)
    except TableError as error:
        raise TableError(f"{error}; damaged: {REMEDY}") from error
    if array.dtype.str != record["dtype"] or list(array.shape) != record["shape"]:
        raise TableError(
            f"{path}: holds {array.dtype.str} {array.shape}, the manifest says "
            f"{record['dtype']} {tuple(record['shape'])}; {REMEDY}"
        )
    return array
