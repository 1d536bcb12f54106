"""A folder that something is written to all at once: whole, or as if nothing had been tried."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from patchrerank.errors import GalleryError
from patchrerank.gallery.folder import check_empty, lock_folder, writing
from patchrerank.gallery.gallery import LOCAL
from patchrerank.gallery.leftovers import LOCK, is_leftover
from patchrerank.gallery.manifest import BUILDING, MANIFEST


@contextmanager
def fresh_folder(folder: Path, beside: Collection[str] = ()) -> Iterator[None]:
    """Take over an absent or empty folder, or one that a killed run left; undo it on failure.

    Args:
        folder: the folder.
        beside: names of folders in there that are no part of what is written.

    Raises:
        GalleryError: a gallery stands there, or files of others, or another process is at work;
            or it cannot be written.
    """
    there = folder.exists()
    lock = lock_folder(folder, beside)
    try:
        if (folder / MANIFEST).exists() or (folder / BUILDING).exists():
            raise GalleryError(
                f"{folder}: there is a gallery already, or one half-written; choose another "
                "folder, or delete it"
            )
        _clear_local(folder)
        check_empty(folder, beside)
        clear(folder, beside)
        try:
            with writing(folder):
                yield
        except BaseException:
            clear(folder, beside)
            (folder / LOCK).unlink(missing_ok=True)
            if not there:
                with suppress(OSError):
                    folder.rmdir()
            raise
    finally:
        lock.close()


def clear(folder: Path, beside: Collection[str] = ()) -> None:
    """Remove what a run that did not end has written; folders named ``beside`` stay."""
    _clear_local(folder)
    for path in folder.iterdir():
        if path.name in (LOCK, *beside):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _clear_local(folder: Path) -> None:
    """Remove local descriptors that such a run has written; a folder with anything else stays."""
    local = folder / LOCAL
    files = list(local.iterdir()) if local.is_dir() and not local.is_symlink() else None
    if files is None or not all(is_leftover(path) or path.name == MANIFEST for path in files):
        return
    for path in files:
        path.unlink()
    local.rmdir()
