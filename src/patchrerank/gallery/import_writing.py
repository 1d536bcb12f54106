"""Writing what is imported, while more of it is read and checked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from patchrerank.gallery.ahead import one_ahead
from patchrerank.gallery.arrays import Array, ArrayFiles


def append_all(files: ArrayFiles, columns: Iterator[dict[str, Array]]) -> None:
    """Append all; the disk takes what is written while more is read, checked and written."""
    with ThreadPoolExecutor(1) as pool:
        syncing = pool.submit(files.flush, durable=True)
        for arrays in one_ahead(columns):
            files.append(arrays)
            if syncing.done():
                syncing.result()
                syncing = pool.submit(files.flush, durable=True)
        syncing.result()
