"""Writing what is imported, while more of it is read and checked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from patchrerank.gallery.ahead import one_ahead
from patchrerank.gallery.arrays import Array, ArrayFiles

PAUSE = 0.02
"""Seconds between two times that the disk is to take all that is written."""


def append_all(files: ArrayFiles, columns: Iterator[dict[str, Array]]) -> None:
    """Append all, while more is read and checked."""
    for arrays in one_ahead(columns):
        files.append(arrays)


@contextmanager
def syncing(files: ArrayFiles) -> Iterator[None]:
    """Have the disk take what is written meanwhile, and all of it at the end."""
    done = threading.Event()

    def sync() -> None:
        while not done.wait(PAUSE):
            files.flush(durable=True)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sync)
        try:
            yield
        finally:
            done.set()
            running.result()
    files.flush(durable=True)
