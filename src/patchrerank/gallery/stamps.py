"""The file that each image was read from: size, time and content, by which a change is seen."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from patchrerank.addresses import Address, place_of
from patchrerank.gallery.arrays import open_array
from patchrerank.gallery.manifest import ArrayRecord, Manifest
from patchrerank.gallery.removed_rows import write_anew
from patchrerank.images import ImageSource, read_address
from patchrerank.types import Rows

STAMPS = "stamps"
STAMPS_RECORD = ArrayRecord("<i8", (0, 4))
"""Bytes, time of the last change in nanoseconds, and two halves of a digest of the content; all
are 0 where the file is not known."""
UNKNOWN = (0, 0, 0, 0)
DIGEST_BYTES = 16
READERS = 4
"""Threads that digest files."""

Stamp = tuple[int, int, int, int]


def taken(image: ImageSource) -> tuple[Stamp, ImageSource]:
    """Return the stamp of a picture's file, and the picture; one at an address is read once.

    Raises:
        ImageError: it is not there any more.
    """
    if not isinstance(image, Address):
        return stamp_of(image), image
    content = read_address(image)
    return (
        *file_state(image),
        *_digest(hashlib.blake2b(content, digest_size=DIGEST_BYTES)),
    ), content


def stamp_of(image: object) -> Stamp:
    """Return the stamp of a picture's file as it is now; of what is no file, ``UNKNOWN``.

    It is taken before the picture is read: what changes in between is seen as a change later.
    """
    if not isinstance(image, str | os.PathLike):
        return UNKNOWN
    try:
        return (*file_state(image), *digest_of(image))
    except OSError:  # reading the picture will say so
        return UNKNOWN


def file_state(path: str | os.PathLike[str] | Address) -> tuple[int, int]:
    """Return a file's size in bytes and the time of its last change in nanoseconds."""
    found = path.stat() if isinstance(path, Address) else os.stat(path)
    return found.st_size, found.st_mtime_ns


def digest_of(path: str | os.PathLike[str] | Address) -> tuple[int, int]:
    """Return 128 bits of BLAKE2b of a file's content."""
    with place_of(path).open("rb") as file:
        return _digest(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)))


def digests_of(files: Sequence[Path], *, progress: bool = False) -> list[tuple[int, int]]:
    """Return 128 bits of each file's content, read side by side.

    A process reads a file once, unless its size, a time (that of its last write can be set, that
    of its last change cannot) or its place on the disk changes. ``progress``: show a bar where it
    takes longer than a second.

    Raises:
        OSError: one cannot be read.
    """
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(_digest_now, files)
        bar = tqdm(found, "reading", len(files), unit="img", delay=1, disable=not progress)
        return list(bar)


def _digest_now(file: Path) -> tuple[int, int]:
    now = os.stat(file)
    return _known_digest(file, (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino))


@lru_cache(maxsize=1 << 18)
def _known_digest(file: Path, _state: tuple[int, ...]) -> tuple[int, int]:
    return digest_of(file)


def _digest(found: Any) -> tuple[int, int]:
    first, second = struct.unpack("<qq", found.digest())
    return first, second


def stamps_in(folder: Path, manifest: Manifest) -> Rows:
    """Return the stamps of all N rows, int64 ``(N, 4)``; zeros where there are none."""
    record = manifest.arrays.get(STAMPS)
    if record is None:
        return np.zeros((manifest.images, 4), dtype=np.int64)
    return np.asarray(open_array(folder, STAMPS, record), dtype=np.int64)


def as_stamp(row: Rows) -> Stamp:
    """Return one row of stamps."""
    size, changed, first, second = row.tolist()
    return size, changed, first, second


def write_stamps(folder: Path, manifest: Manifest, fresh: Mapping[int, Stamp]) -> Manifest:
    """Write all stamps anew with those of some rows replaced; return the manifest that names them.

    Args:
        folder: of the gallery, whose lock is held.
        manifest: its own stamps stay where they are.
        fresh: row → stamp.
    """
    if not fresh:
        return manifest
    stamps = stamps_in(folder, manifest).copy()
    stamps[list(fresh)] = list(fresh.values())
    before = manifest.arrays[STAMPS]
    record = replace(STAMPS_RECORD, generation=before.generation + 1)
    written = write_anew(folder, STAMPS, record, stamps)
    return replace(manifest, arrays={**manifest.arrays, STAMPS: written})
