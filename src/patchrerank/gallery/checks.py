"""What is checked alike in every folder of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from patchrerank.errors import PatchRerankError
from patchrerank.gallery.arrays import Array, array_path, crc_of, record_bytes
from patchrerank.gallery.manifest import BUILDING, ArrayRecord

Folder = TypeVar("Folder")


def found_by(check: Callable[[Folder], Iterable[str]], folder: Folder) -> list[str]:
    """Return the sentences of a check; where it cannot go on, the reason is the last of them."""
    found: list[str] = []
    try:
        for sentence in check(folder):
            found.append(sentence)
    except PatchRerankError as error:
        found.append(str(error))
    return found


def check_files(folder: Path, records: Mapping[str, ArrayRecord]) -> Iterator[str]:
    """Yield a sentence for each array file of another size or checksum than recorded."""
    growing = (folder / BUILDING).exists()
    for name, record in records.items():
        path = array_path(folder, name, record.generation)
        size = record_bytes(record)
        actual = path.stat().st_size if path.is_file() else 0
        if actual != size and not growing:
            yield f"{path.name}: {actual} bytes, the manifest says {size}"
        if (crc_of(path, size) if size else 0) != record.crc32:
            yield f"{path.name}: checksum differs from the manifest's"


def check_ends(name: str, ends: Array, images: int, total: int) -> Iterator[str]:
    """Yield what is wrong with cumulative counts ``(images,)`` that end at ``total``."""
    ends = np.asarray(ends)
    if len(ends) != images:
        yield f"{name}: {len(ends)} entries for {images} images"
    if (np.diff(ends, prepend=0) < 0).any():
        yield f"{name}: not increasing at row {np.argmax(np.diff(ends, prepend=0) < 0)}"
    if int(ends[-1] if len(ends) else 0) != total:
        yield f"{name}: ends at {ends[-1] if len(ends) else 0}, expected {total}"
