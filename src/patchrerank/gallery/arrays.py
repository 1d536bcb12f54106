"""Append-only array files with a running checksum, and their memory-mapped reading."""

from __future__ import annotations

import errno
import math
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError
from patchrerank.gallery.manifest import ArrayRecord

Array = npt.NDArray[np.generic]
BLOCK = 1 << 24
PIECE = 1 << 18
"""Bytes written at once: of more, Linux looks for large pages to hold them, up to 7 × as long."""
SYNC_SECONDS = 5.0
RESTORE = "restore the file or index again"


def array_path(folder: Path, name: str, generation: int = 0) -> Path:
    """Return the file that holds the array ``name``, as written anew so many times."""
    return folder / (f"{name}.{generation}.bin" if generation else f"{name}.bin")


def record_bytes(record: ArrayRecord) -> int:
    """Return the size in bytes of the array's data."""
    return int(np.dtype(record.dtype).itemsize) * math.prod(record.shape)


def open_array(folder: Path, name: str, record: ArrayRecord) -> Array:
    """Memory-map an array read-only; the file may be longer (an append under way).

    Raises:
        GalleryError: the file is missing or too short.
    """
    path = array_path(folder, name, record.generation)
    size = record_bytes(record)
    actual = path.stat().st_size if path.is_file() else -1
    if actual < size:
        what = "is missing" if actual < 0 else f"has {actual} bytes"
        raise GalleryError(f"{path}: {what}, the manifest says {size}; restore it or index again")
    if size == 0:
        return np.zeros(record.shape, dtype=record.dtype)
    try:
        return _mapped(path, record)
    except FileNotFoundError as error:  # a newer manifest's writer removed it just now
        raise GalleryError(f"{path}: is missing; {RESTORE}") from error


def _mapped(path: Path, record: ArrayRecord) -> Array:
    """Map a file; each mapping holds an open file, of which many shards have many.

    Where the process may open no more, its own limit is raised as far as the system lets it.
    """
    try:
        return _map(path, record)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
    try:
        import resource  # not on every platform

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return _map(path, record)
    except (OSError, ValueError, ImportError) as error:
        raise GalleryError(
            f"{path}: this process may open no more files; raise its limit (ulimit -n), or join "
            "shards into one folder (patchrerank merge --copy)"
        ) from error


def _map(path: Path, record: ArrayRecord) -> Array:
    where = os.path.abspath(path)  # of a Path numpy would follow every link
    return np.memmap(where, dtype=record.dtype, mode="r", shape=record.shape)


def checksum_of(array: Array) -> int:
    """Return the CRC-32 of an array's bytes."""
    return zlib.crc32(array.data if array.size else b"")


def crc_of(path: Path, size: int) -> int:
    """Return the CRC-32 of the first ``size`` bytes of a file."""
    crc, left = 0, size
    with path.open("rb") as file:
        while left > 0:
            block = file.read(min(BLOCK, left))
            if not block:
                break
            crc = zlib.crc32(block, crc)
            left -= len(block)
    return crc


def is_intact(folder: Path, records: Mapping[str, ArrayRecord]) -> bool:
    """Return whether all arrays are there with the bytes that their records describe."""
    for name, record in records.items():
        size, path = record_bytes(record), array_path(folder, name, record.generation)
        if size and (not path.is_file() or path.stat().st_size < size):
            return False
        if size and crc_of(path, size) != record.crc32:
            return False
    return True


class ArrayWriter:
    """Appends rows to one array file.

    Args:
        folder: the gallery directory.
        name: the array's name.
        record: what is already there; anything behind it (of a killed run) is cut off.

    Attributes:
        there: whether what is appended is in the file already, put there by another.

    Raises:
        GalleryError: the bytes already there are not those that the record describes.
    """

    def __init__(self, folder: Path, name: str, record: ArrayRecord) -> None:
        self.path = array_path(folder, name, record.generation)
        self.record = record
        size = record_bytes(record)
        if size:
            open_array(folder, name, record)
            if crc_of(self.path, size) != record.crc32:
                raise GalleryError(
                    f"{self.path}: checksum differs from the manifest's; the file is damaged. "
                    "Delete the gallery folder and index again"
                )
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        self._file.truncate(size)
        self._file.seek(size)
        self.there = False
        self._beside = ThreadPoolExecutor(1)

    def append(self, rows: Array) -> None:
        """Write rows behind the last; they count only once a manifest names them."""
        record = self.record
        if rows.shape[1:] != record.shape[1:]:
            raise GalleryError(f"{self.path}: rows of shape {rows.shape[1:]}, not {record.shape}")
        data = np.ascontiguousarray(rows, dtype=record.dtype).reshape(-1).view(np.uint8).data
        crc = self._written(data, record.crc32)
        shape = (record.shape[0] + len(rows), *record.shape[1:])
        self.record = replace(record, shape=shape, crc32=crc)

    def _written(self, data: memoryview, before: int) -> int:
        """Write bytes, and return the checksum that they make of the one before."""
        if self.there or len(data) <= PIECE:
            with self._named():
                _ = None if self.there else self._file.write(data)
            return zlib.crc32(data, before)
        crc = self._beside.submit(zlib.crc32, data, before)
        with self._named():
            for start in range(0, len(data), PIECE):
                self._file.write(data[start : start + PIECE])
        return crc.result()

    def flush(self, *, durable: bool) -> None:
        """Hand the rows to the operating system; ``durable`` waits until they are on the disk."""
        with self._named():
            self._file.flush()
            if durable:
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; rows that were never flushed count for nothing, and may be lost."""
        self._beside.shutdown()
        with suppress(OSError):  # a full disk, which flush has told of
            self._file.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say which file it is that cannot be written."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise


class ArrayFiles:
    """The array files of one folder, appended to and flushed together.

    Args:
        folder: where they lie.
        records: name → what is already there.

    Raises:
        GalleryError: a file is damaged (see :class:`ArrayWriter`).
    """

    def __init__(self, folder: Path, records: Mapping[str, ArrayRecord]) -> None:
        self._writers = {
            name: ArrayWriter(folder, name, record) for name, record in records.items()
        }
        self._synced = time.monotonic()

    @property
    def records(self) -> dict[str, ArrayRecord]:
        """What has been appended so far, by name."""
        return {name: writer.record for name, writer in self._writers.items()}

    def rows(self, name: str) -> int:
        """Return how many rows the array ``name`` has."""
        return self._writers[name].record.shape[0]

    def path(self, name: str) -> Path:
        """Return the file of the array ``name``."""
        return self._writers[name].path

    def find_there(self, name: str) -> None:
        """Take what is appended to the array ``name`` as written already."""
        self._writers[name].there = True

    def append(self, columns: Mapping[str, Array]) -> None:
        """Write rows behind the last of each array named."""
        for name, rows in columns.items():
            self._writers[name].append(rows)

    def flush(self, *, durable: bool = False) -> bool:
        """Hand the rows to the operating system, and to the disk if asked or every 5 seconds.

        Returns:
            Whether they are on the disk.
        """
        durable = durable or time.monotonic() - self._synced > SYNC_SECONDS
        for writer in self._writers.values():
            writer.flush(durable=durable)
        if durable:
            self._synced = time.monotonic()
        return durable

    def close(self) -> None:
        """Close all files."""
        for writer in self._writers.values():
            writer.close()
