"""Arrays of any size, read block by block: numpy, ``.npy`` files, and whatever can be sliced."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError, PatchRerankError, described, short_reason
from patchrerank.numpy_files import map_npy
from patchrerank.types import Rows

Array = npt.NDArray[Any]
BLOCK_BYTES = 1 << 22
"""Bytes that are read, checked and written at once: what a processor's cache holds."""

AHEAD = 4
"""Blocks that are asked for ahead of being read."""


class RowSource:
    """An array whose rows are read when they are asked for.

    Attributes:
        name: what messages call it: the argument, and the file if it is one.
        shape: of the array.
        dtype: of the array.
        values: the array.
        file: that it is in, row behind row; None: in none.
        offset: of its first byte there.
    """

    file: Path | None = None
    offset: int = 0
    _opened: FileIO | None = None

    def __init__(self, values: Any, name: str) -> None:
        self.name, self.values = name, values
        self._buffers = [np.empty(0, dtype=np.uint8) for _ in range(2)]
        self.shape: tuple[int, ...] = tuple(values.shape)
        self.dtype = np.dtype(values.dtype)
        plain = isinstance(values, np.memmap) and isinstance(values.base, mmap.mmap)
        if plain and values.filename is not None and values.flags.c_contiguous:
            self.file = Path(values.filename)
            self.offset = int(values.offset)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """How many values there are."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.size * int(self.dtype.itemsize)

    def __del__(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def read(self, start: int, stop: int) -> Array:
        """Return rows ``[start, stop)``; of a mapped file they are read, so that none stay.

        What is returned holds until the next but one is read: memory is used again.

        Raises:
            GalleryError: they cannot be read.
        """
        try:
            if self.file is None:
                return np.asarray(self.values[start:stop])
            return self._from_file(self.file, start, stop)
        except PatchRerankError:
            raise
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise GalleryError(
                f"{self.name}: rows {start} to {stop} cannot be read ({short_reason(error)})"
            ) from error

    def blocks(self, counts: Rows | None = None) -> Iterator[Array]:
        """Yield all rows ``(n, width)``, block by block; of ``(N, P, width)`` images follow.

        Args:
            counts: int64 ``(N,)``, how many rows of each of N images count; None: all.
        """
        bytes_a_step = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        step = max(1, BLOCK_BYTES // max(1, bytes_a_step))
        for start in range(0, len(self), step):
            stop = min(start + step, len(self))
            block = self.read(start, stop)
            if block.ndim == 3 and counts is not None and counts[start:stop].min() < self.shape[1]:
                block = block[np.arange(block.shape[1]) < counts[start:stop, None]]
            yield block.reshape(-1, self.shape[-1])

    def _from_file(self, path: Path, start: int, stop: int) -> Array:
        row = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self._buffers.reverse()
        size = (stop - start) * row
        if len(self._buffers[0]) < size:
            self._buffers[0] = np.empty(size, dtype=np.uint8)
        held = self._buffers[0][:size]
        if self._opened is None:
            self._opened = path.open("rb", buffering=0)
        file, done = self._opened, 0
        file.seek(self.offset + start * row)
        while done < size:
            count = file.readinto(held[done:].data)
            if not count:
                raise OSError("the file ends too early")
            done += count
        if hasattr(os, "posix_fadvise"):  # the disk is asked for what comes next
            os.posix_fadvise(file.fileno(), file.tell(), AHEAD * size, os.POSIX_FADV_WILLNEED)
        return np.asarray(held.view(self.dtype)).reshape(stop - start, *self.shape[1:])


def open_rows(values: Any, name: str) -> RowSource:
    """Return an array as a source of rows.

    Args:
        values: a numpy array, a ``.npy`` file's path, anything with ``shape``, ``dtype`` and
            slices (a data set of h5py), or what numpy makes an array of.
        name: of the argument.

    Raises:
        GalleryError: no array, or a file that cannot be read.
    """
    if isinstance(values, RowSource):
        return values
    if isinstance(values, str | os.PathLike):
        return RowSource(map_npy(values, GalleryError), f"{name} ({os.fspath(values)})")
    if hasattr(values, "shape") and hasattr(values, "dtype") and hasattr(values, "__getitem__"):
        try:
            return RowSource(values, name)
        except TypeError:  # a tensor's dtype is no numpy dtype
            pass
    try:
        return RowSource(np.asarray(values), name)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GalleryError(
            f"{name}: {described(values)} is no array; images with different numbers of patches "
            "are given one behind the other, (T, d), with counts"
        ) from error
