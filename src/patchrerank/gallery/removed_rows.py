"""Rows that were removed: flags beside the arrays, until ``compact`` gives their bytes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import ShortlistError
from patchrerank.gallery.arrays import ArrayFiles, array_path, open_array
from patchrerank.gallery.leftovers import is_array
from patchrerank.gallery.manifest import REMOVED, ArrayRecord, Manifest
from patchrerank.kernels.segments import plain, spans_of
from patchrerank.types import Rows

REMOVED_RECORD = ArrayRecord("|u1", (0,))
Flags = npt.NDArray[np.bool_]
ANY = np.iinfo(np.int64).max


def flags_of(removed: npt.NDArray[Any] | None, rows: int) -> Flags:
    """Return which of ``rows`` rows were removed, bool ``(rows,)``.

    Args:
        removed: uint8 ``(n,)``, as stored; rows behind the n-th live. None: all live.
        rows: of the gallery.
    """
    flags = np.zeros(rows, dtype=bool)
    if removed is not None:
        flags[: len(removed)] = np.asarray(removed) != 0
    return flags


def check_there(folder: Path, removed: Flags, rows: Rows) -> None:
    """Refuse rows of a gallery that were removed; others are checked where they are used.

    Raises:
        ShortlistError: says how many, and names one.
    """
    known = rows[(rows >= 0) & (rows < len(removed))]
    gone = known[removed[known]]
    if len(gone):
        raise ShortlistError(
            f"{len(gone)} rows were removed from the gallery {folder}, for example {gone[0]}; "
            "gallery.live are those that are there"
        )


def removed_flags(folder: Path, manifest: Manifest) -> Flags:
    """Return which rows of a manifest were removed, bool ``(N,)``."""
    record = manifest.arrays.get(REMOVED)
    held = None if record is None else open_array(folder, REMOVED, record)
    return flags_of(held, manifest.images)


def write_flags(folder: Path, manifest: Manifest, flags: Flags) -> Manifest:
    """Write flags to a file of the next generation; return the manifest that names it.

    Args:
        folder: of the gallery, whose lock is held.
        manifest: its own flags stay where they are.
        flags: bool ``(N,)``, of which the last that is set ends the file.
    """
    before = manifest.arrays.get(REMOVED)
    stored = flags[: int(np.flatnonzero(flags)[-1]) + 1 if flags.any() else 0]
    record = replace(REMOVED_RECORD, generation=0 if before is None else before.generation + 1)
    written = write_anew(folder, REMOVED, record, stored)
    return replace(manifest, arrays={**manifest.arrays, REMOVED: written})


def write_anew(folder: Path, name: str, record: ArrayRecord, rows: npt.NDArray[Any]) -> ArrayRecord:
    """Write all of an array to a file of its own, and to the disk; return its record."""
    files = new_files(folder, {name: record})
    try:
        files.append({name: rows})
        files.flush(durable=True)
    finally:
        files.close()
    return files.records[name]


def new_files(folder: Path, records: Mapping[str, ArrayRecord]) -> ArrayFiles:
    """Begin arrays' files; those of the same names that a killed run left are not written into.

    Whoever has them open, mapped, keeps what stands in them.
    """
    for name, record in records.items():
        array_path(folder, name, record.generation).unlink(missing_ok=True)
    return ArrayFiles(folder, records)


def sweep(folder: Path, kept: Mapping[str, ArrayRecord]) -> None:
    """Delete the array files of a folder that are none of these."""
    named = {array_path(folder, name, record.generation) for name, record in kept.items()}
    for path in folder.glob("*.bin"):
        if is_array(path) and path not in named:
            path.unlink(missing_ok=True)


def items_of(ends: Rows, rows: Rows) -> Rows:
    """Return the places of all that belongs to rows: int64, one row's behind the other's.

    Args:
        ends: int64 ``(N,)``, where what belongs to each row ends; may be segments.
        rows: int64 ``(n,)``.
    """
    begins, counts, _ = spans_of(rows, plain(ends), ANY)
    firsts = np.cumsum(counts) - counts
    return np.asarray(np.repeat(begins - firsts, counts) + np.arange(counts.sum()))
