"""What this machine has and does: memory, disk, and how fast either is read and written."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAMPLE = 256 << 20
PIECE = 1 << 22
ROUNDS = 3


@dataclass(frozen=True)
class Machine:
    """One machine.

    Attributes:
        cores: that this process may use.
        memory: bytes of RAM.
        disk: bytes free where the gallery would lie.
        memory_read: bytes a second, one thread; NaN: not measured.
        disk_write: bytes a second, sequential, flushed to the disk; NaN: not measured.
    """

    cores: int
    memory: int
    disk: int
    memory_read: float = float("nan")
    disk_write: float = float("nan")


def measure_memory() -> float:
    """Return the bytes a second at which one thread reads memory outside of the caches."""
    from patchrerank.bench.machine import reader

    words = np.ones(SAMPLE // 8, dtype=np.int64)
    read, start = reader(words, SAMPLE).run, np.zeros(1, dtype=np.int64)
    read(start)
    return SAMPLE / min(_seconds(lambda: read(start)) for _ in range(ROUNDS))


def measure_disk(folder: Path) -> float:
    """Return the bytes a second at which a file is written to ``folder`` and flushed."""
    piece = np.random.default_rng(0).integers(0, 256, PIECE, dtype=np.uint8).tobytes()

    def write() -> None:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            for _ in range(SAMPLE // PIECE):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    return SAMPLE / min(_seconds(write) for _ in range(ROUNDS))


def this_machine(folder: Path) -> Machine:
    """Return this machine; ``folder`` is where the gallery would lie."""
    known = hasattr(os, "sched_getaffinity")
    return Machine(
        cores=len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1,
        memory=_memory(),
        disk=shutil.disk_usage(folder).free,
        memory_read=measure_memory(),
        disk_write=measure_disk(folder),
    )


def _memory() -> int:
    with suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 0


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
