"""Rows of a file that a gallery holds as they are: the system copies them, the copy is checked."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import ArrayFiles
from patchrerank.gallery.row_sources import Array, RowSource

PIECE = 1 << 22
"""Bytes that are copied at once."""
AHEAD = 1 << 31
"""Bytes that are copied before they are read: they are to be in memory still."""
CANNOT = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}
"""What a system says that cannot copy from this file to that one."""


class CopiedRows(RowSource):
    """Rows ``(n, …)`` of a file that are read out of their copy, as far as it has come."""

    def __init__(self, source: RowSource, file: Path, copy: Path) -> None:
        super().__init__(source.values, source.name)
        self._before, self._begin = file, source.offset
        self.file, self.offset = copy, 0
        self._moved = threading.Condition()
        self._copied = self._read = 0
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._copy_all, daemon=True)

    def read(self, start: int, stop: int) -> Array:
        """Return rows ``[start, stop)``, as soon as they are copied.

        Raises:
            GalleryError: the file ended meanwhile.
            OSError: they cannot be written.
        """
        end = stop * (self.nbytes // len(self))
        with self._moved:
            self._read = end
            self._moved.notify_all()
            self._moved.wait_for(lambda: self._copied >= end or self._error is not None)
        if self._error is not None:
            raise self._error
        return super().read(start, stop)

    def begin(self) -> bool:
        """Copy the first piece, and the rest in a thread; return whether the system can do that."""
        try:
            self._copied = self._copy(0)
        except OSError as error:
            if error.errno in CANNOT:
                return False
            raise
        self._thread.start()
        return True

    def end(self) -> None:
        """Copy no more."""
        with self._moved:
            self._stopped = True
            self._moved.notify_all()
        self._thread.join()

    def _copy_all(self) -> None:
        try:
            while self._copied < self.nbytes and not self._stopped:
                count = self._copy(self._copied)
                with self._moved:
                    self._copied += count
                    self._moved.notify_all()
                    self._moved.wait_for(lambda: self._stopped or self._copied - self._read < AHEAD)
        except BaseException as error:
            with self._moved:
                self._error = error
                self._moved.notify_all()

    def _copy(self, start: int) -> int:
        if sys.platform != "linux":
            raise OSError(errno.ENOSYS, "no copying by the system")
        size, copy = min(PIECE, self.nbytes - start), Path(self.file or "")
        with self._before.open("rb") as before, copy.open("r+b") as after:
            files = (before.fileno(), after.fileno())
            try:
                count = os.copy_file_range(*files, size, self._begin + start, start)
            except OSError as error:
                error.filename = str(copy)
                raise
        if not count:
            raise GalleryError(f"{self.name}: cannot be read (the file ends too early)")
        return count


@contextmanager
def copied(source: RowSource, name: str, files: ArrayFiles, rows: int) -> Iterator[RowSource]:
    """Have vectors copied where they are stored as they are; they are read there then.

    Args:
        source: of the vectors.
        name: of the array that they go to, and nothing else.
        files: with that array, still empty.
        rows: how many vectors of ``source`` count; unless all do, they are not copied.
    """
    alike = source.dtype == files.records[name].dtype and rows * source.shape[-1] == source.size
    if source.file is None or not alike or not rows:
        yield source
        return
    copy = CopiedRows(source, source.file, files.path(name))
    if not copy.begin():
        yield source
        return
    files.find_there(name)
    try:
        yield copy
    finally:
        copy.end()
