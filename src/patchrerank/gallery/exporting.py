"""A gallery's ids, vectors, counts and boxes as files that any program reads."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from patchrerank.errors import SettingError
from patchrerank.files import writing
from patchrerank.gallery.arrow_writing import write_parquet
from patchrerank.gallery.export_columns import (
    Column,
    check_whole,
    columns_of,
    packed_ids,
    record_of,
)
from patchrerank.gallery.gallery import WHITENING, Gallery
from patchrerank.gallery.hdf5_vectors import write_hdf5_vectors
from patchrerank.gallery.vectors import ENDINGS, format_of

RECORD_FILE = "patchrerank.json"
"""Beside exported ``.npy`` files: what made them."""

Told = Callable[[int], object]


def export_gallery(
    gallery: Gallery | str | os.PathLike[str],
    out: str | os.PathLike[str],
    format: str = "npy",
    *,
    local: bool = True,
    progress: bool = True,
) -> Path:
    """Write a gallery's vectors for other programs, and for :func:`import_gallery`.

    Args:
        gallery: open, or its folder.
        out: what is written; must not be there. It appears whole or not at all. A file's name
            ends in ``.h5``, ``.hdf5`` or ``.parquet``, by which an import knows it.
        format: ``npy``: a folder with ``globals.npy`` float32 ``(N, d)``, ``patches.npy``
            ``(T, d)``, ``counts.npy`` int64 ``(N,)``, ``boxes.npy`` float32 ``(T, 4)`` where there
            are boxes, and ids: ``ids.json`` for text, ``ids.npy`` for whole numbers (int64) and
            UUIDs (uint8 ``(N, 16)``); ``sizes.npy`` int32 ``(N, 2)`` where they are known; local
            descriptors, where there are any, in ``local``: ``vectors.npy`` ``(L, D)``,
            ``places.npy`` float32 ``(L, 4)`` (x, y, scale, weight), ``counts.npy``. ``hdf5``: one
            file with the same as data sets, text as text. ``parquet``: one file with a row an
            image (extra ``arrow``).
        local: write local descriptors, too.
        progress: show a progress bar.

    Returns:
        ``out``.

    Raises:
        GalleryError: no gallery, or a damaged one, or half-written local descriptors.
        SettingError: an unknown format, or another name; something is there; it cannot be
            written.
    """
    opened = gallery if isinstance(gallery, Gallery) else Gallery(gallery)
    if format not in WRITERS:
        raise SettingError(f"format is {format!r}; use {' or '.join(WRITERS)}")
    check_whole(opened)
    target = Path(out)
    if target.exists():
        raise SettingError(f"{target}: is there already; choose another name for the export")
    if not target.absolute().parent.is_dir():
        raise SettingError(f"{target}: there is no folder {target.parent}; make it first")
    check_name(target, format)
    columns = columns_of(opened, local=local)
    total = sum(column.nbytes for column in columns.values())
    with tqdm(total=total, unit="B", unit_scale=True, desc="export", disable=not progress) as bar:
        WRITERS[format](opened, target, columns, bar.update)
    return target


def check_name(target: Path, format: str) -> None:
    """Refuse a name by which what is written would not be known again.

    Raises:
        SettingError: says which endings there are.
    """
    endings = ENDINGS.get(format, ())
    if endings and target.suffix.lower() not in endings:
        raise SettingError(
            f"{target}: a file of the format {format} ends in {' or '.join(endings)}; call it "
            f"{target}{endings[0]}"
        )
    if not endings and format_of(target) is not None:
        raise SettingError(
            f"{target}: the format npy makes a folder, which should not be called like a file; "
            "name another folder, or say the format"
        )


def _write_npy(gallery: Gallery, target: Path, columns: dict[str, Column], told: Told) -> None:
    scratch = target.absolute().parent / f".{secrets.token_hex(8)}.part"
    try:
        with writing(target):
            scratch.mkdir()
            for name, column in columns.items():
                (scratch / name).parent.mkdir(exist_ok=True)
                _write_array(scratch / f"{name}.npy", column, told)
            _write_ids(gallery, scratch)
            if gallery.whitening is not None:
                gallery.whitening.save(scratch / WHITENING)
            (scratch / RECORD_FILE).write_text(record_of(gallery, columns), encoding="utf-8")
            scratch.rename(target)
    finally:
        with suppress(OSError):
            shutil.rmtree(scratch)


def _write_array(path: Path, column: Column, told: Told) -> None:
    dtype = np.dtype(column.dtype)
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": column.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in column.blocks():
            file.write(np.ascontiguousarray(block, dtype=dtype).reshape(-1).view(np.uint8).data)
            told(block.nbytes)


def _write_ids(gallery: Gallery, folder: Path) -> None:
    packed = packed_ids(gallery)
    if packed is None:
        text = json.dumps(list(gallery.ids.living()), ensure_ascii=False)
        (folder / "ids.json").write_text(text, encoding="utf-8")
    else:
        np.save(folder / "ids.npy", packed)


WRITERS: dict[str, Callable[[Gallery, Path, dict[str, Column], Told], None]] = {
    "npy": _write_npy,
    "hdf5": write_hdf5_vectors,
    "parquet": write_parquet,
}
"""Format → what writes it."""
