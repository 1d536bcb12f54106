"""HDF5 files written so that a full disk costs the file, not the process.

HDF5 (h5py 3.16 on any driver that writes to a disk) ends the process with a segmentation fault
when a write fails for want of room. So files are made in memory and written in one go; those too
large for that only where the disk has room for them.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.errors import cannot_write
from patchrerank.files import Ours, check_target, write_whole, written_beside

if TYPE_CHECKING:
    import h5py

IN_MEMORY = 1 << 30
"""Bytes up to which a file is made in memory."""
MARGIN = 1 << 26
"""Bytes for what HDF5 writes beside the arrays."""


def hdf5_with(what: str, *keys: str) -> Ours:
    """Return how HDF5 files are known that hold just these data sets."""

    def made(path: Path) -> bool:
        import h5py

        try:
            with h5py.File(path, "r") as file:
                return set(file) == set(keys)
        except (OSError, RuntimeError):
            return False

    return Ours(what, made)


@contextmanager
def hdf5_written(path: str | Path, ours: Ours, size: int) -> Iterator[h5py.File]:
    """Give an HDF5 file to fill; it takes its place when all is well, whole or not at all.

    Args:
        path: the file. Whoever has an earlier one open keeps it.
        ours: what may be replaced.
        size: bytes of all arrays, uncompressed.

    Raises:
        SettingError: the file cannot be written, holds something else, or the disk has no room.
    """
    import h5py

    check_target(path, ours)
    if size <= IN_MEMORY:
        with h5py.File(os.fspath(path), "w", driver="core", backing_store=False) as file:
            yield file
            file.flush()
            image = file.id.get_file_image()
        write_whole(path, image, ours)
        return
    if shutil.disk_usage(Path(path).resolve().parent).free < size + MARGIN:
        full = OSError(errno.ENOSPC, f"it may take {size:,} bytes, more than the disk has free")
        raise cannot_write(path, full)
    with written_beside(path, ours) as scratch, h5py.File(scratch, "w") as file:
        yield file
