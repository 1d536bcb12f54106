"""A folder that something is written to all at once: whole, or as if nothing had been tried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from patchrerank.errors import GalleryError
from patchrerank.gallery.folder import check_empty, lock_folder, writing
from patchrerank.gallery.leftovers import LOCK
from patchrerank.gallery.manifest import BUILDING, MANIFEST


@contextmanager
def fresh_folder(folder: Path) -> Iterator[None]:
    """Take over an absent or empty folder, or one that a killed run left; undo it on failure.

    Raises:
        GalleryError: a gallery stands there, or files of others, or another process is at work;
            or it cannot be written.
    """
    there = folder.exists()
    lock = lock_folder(folder)
    try:
        if (folder / MANIFEST).exists() or (folder / BUILDING).exists():
            raise GalleryError(
                f"{folder}: there is a gallery already, or one half-written; choose another "
                "folder, or delete it"
            )
        check_empty(folder)
        _clear(folder)
        try:
            with writing(folder):
                yield
        except BaseException:
            _clear(folder)
            (folder / LOCK).unlink(missing_ok=True)
            if not there:
                with suppress(OSError):
                    folder.rmdir()
            raise
    finally:
        lock.close()


def _clear(folder: Path) -> None:
    """Remove what a run that did not end has written."""
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink()
