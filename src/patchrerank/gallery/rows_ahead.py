"""Asking the system ahead for what a request will read of files that are not in memory.

Read as it comes, each candidate's patches are a page fault of their own, one after the other, and
each reads as much around it as the system thinks fit. Asked for ahead, all are read together, and
nothing around them. What is in memory already would pay for the asking with a system call a
candidate; so it is done only behind a request that had to read from a disk.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np

with suppress(ImportError):
    import resource

from patchrerank.kernels.segments import Rowwise, Segments, spans_of
from patchrerank.types import Rows

ON_LINUX = sys.platform == "linux"
"""Others do not count what a thread reads."""


class RowsAhead:
    """Asks for the rows of requests, as long as requests have to read from a disk.

    Args:
        ends: int64 ``(N,)``, cumulative patch counts.
        arrays: with T rows, those of patches; what is not mapped is left alone.

    Attributes:
        cold: whether the last request read from a disk; the first one is taken to.
    """

    def __init__(self, ends: Rowwise, arrays: Sequence[Rowwise]) -> None:
        self._ends, self._arrays = ends, arrays
        self.cold = ON_LINUX

    def begin(self, rows: Rows) -> int:
        """Ask for what a request reads, if the last one read from a disk.

        Args:
            rows: int64 of any shape; others than the gallery's are left out.

        Returns:
            What :meth:`end` takes.
        """
        mark = blocks_read()
        if self.cold:
            self.ask(rows)
        return mark

    def end(self, mark: int) -> None:
        """See whether a request read from a disk since it began."""
        self.cold = blocks_read() > mark

    def ask(self, rows: Rows) -> None:
        """Ask for what is read of rows."""
        known = np.unique(rows)
        known = known[(known >= 0) & (known < len(self._ends))]
        if not len(known) or not self._arrays:
            return
        _ask(self._ends, known, known + 1)
        begins, counts, _ = spans_of(known, self._ends, len(self._arrays[0]))
        begins, counts = begins[counts > 0], counts[counts > 0]
        for array in self._arrays:
            _ask(array, begins, begins + counts)


def blocks_read() -> int:
    """Return how much this thread has read from disks, in blocks; 0 where nobody counts it."""
    if not ON_LINUX:
        return 0
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


def _ask(array: Rowwise, begins: Rows, ends: Rows) -> None:
    """Ask for rows ``begins`` to ``ends`` of an array, both rising."""
    for part, first, last in _parts(array, begins, ends):
        mapped = _mapped(part)
        if mapped is None or not part.size:
            continue
        width = part.strides[0]
        for start, stop in _pages(first * width, last * width):
            mapped.madvise(mmap.MADV_WILLNEED, start, min(stop, part.nbytes) - start)


def _parts(array: Rowwise, begins: Rows, ends: Rows) -> Iterator[tuple[Any, Rows, Rows]]:
    if not isinstance(array, Segments):
        yield array, begins, ends
        return
    cuts = np.searchsorted(begins, array.starts)
    for number, (low, high) in enumerate(pairwise(cuts.tolist())):
        if high > low:
            before, behind = array.starts[number : number + 2]
            own = np.minimum(ends[low:high], behind)
            yield array.part(number), begins[low:high] - before, own - before


def _mapped(array: Any) -> mmap.mmap | None:
    """Return the map that an array is, if it is all of one."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None


def _pages(begins: Rows, ends: Rows) -> list[tuple[int, int]]:
    """Return spans of whole pages, those that meet made one."""
    first = begins // mmap.PAGESIZE * mmap.PAGESIZE
    last = -(-ends // mmap.PAGESIZE) * mmap.PAGESIZE
    full = ends > begins
    first, last = first[full], np.maximum.accumulate(last[full])
    new = np.flatnonzero(first[1:] > last[:-1]) + 1
    starts, stops = np.r_[0, new], np.r_[new, len(first)] - 1
    return (
        list(zip(first[starts].tolist(), last[stops].tolist(), strict=True)) if len(first) else []
    )
