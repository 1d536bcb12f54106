"""What a file says of its own size, held against the file and against the memory there is."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from patchrerank.errors import PatchRerankError

MOST_SQUEEZED = 1 << 12
"""No compression that these files may use makes data smaller than by this factor (deflate
stops at 1032)."""
SLACK = 1 << 16
"""Bytes that are never worth a complaint."""


def check_declared(
    declared: int, held: int, where: str, error: type[PatchRerankError], *, squeezed: bool = False
) -> None:
    """Refuse a file that declares more data than it can hold, or than fits into memory.

    Args:
        declared: bytes that reading it would take, by its own word.
        held: bytes that are there.
        where: file and entry, for the message.
        error: what is raised.
        squeezed: the bytes may be compressed.

    Raises:
        error: names file and entry.
    """
    if declared < 0 or declared > held * (MOST_SQUEEZED if squeezed else 1) + SLACK:
        raise error(f"{where}: declares {declared:,} bytes, but the file holds {held:,}; damaged?")
    check_memory(declared, where, error)


def check_hdf5(data: Any, path: object, error: type[PatchRerankError]) -> None:
    """Refuse a data set of an HDF5 file that declares more than its stored bytes can make.

    Args:
        data: an ``h5py.Dataset``, compressed or not.
        path: the file, for the message.
        error: what is raised.

    Raises:
        error: names file and data set.
    """
    declared = data.dtype.itemsize * math.prod(data.shape)
    if declared < 0 or declared > data.id.get_storage_size() * MOST_SQUEEZED + SLACK:
        raise error(
            f"{path}: {data.name} declares {declared:,} bytes {data.shape}, but "
            f"{data.id.get_storage_size():,} are stored; damaged or unfinished?"
        )


def check_memory(needed: int, where: str, error: type[PatchRerankError]) -> None:
    """Refuse what does not fit into the memory that is free now.

    Raises:
        error: names file and entry.
    """
    free = free_memory()
    if needed > free:
        raise error(f"{where}: needs {needed:,} bytes of memory, {free:,} are free")


def free_memory() -> int:
    """Return the bytes of memory that could be had now; all of the machine's if nobody tells."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on this platform
        return 1 << 62
