"""Taking a folder over for writing."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from patchrerank.errors import GalleryError
from patchrerank.gallery.identity import differences
from patchrerank.gallery.leftovers import LOCK, has_manifest, is_leftover
from patchrerank.gallery.manifest import BUILDING, MANIFEST
from patchrerank.gallery.manifest_reading import read_manifest
from patchrerank.remote_files import OF_ARROW

REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room within your quota",
    errno.EFBIG: "allow larger files",
    errno.EROFS: "make the disk writable",
    errno.EACCES: "make the folder writable for you",
    errno.EPERM: "make the folder writable for you",
}
DIGESTS = ("identity", "fingerprint")
"""Settings that are digests of an encoder's record: the record says what is behind them."""


@contextmanager
def writing(folder: Path, kept: int | None = None) -> Iterator[None]:
    """Turn a full disk or a folder that is read-only into a sentence.

    Args:
        folder: that is written to.
        kept: images committed before, which stay.

    Raises:
        GalleryError: names the file, what is kept and what to do.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        kept_too = f"the {kept} images written before are kept; " if kept is not None else ""
        remedy = REMEDIES.get(error.errno or 0, "mend that")
        raise GalleryError(
            f"{where}: cannot be written ({error.strerror or error}); {kept_too}{remedy} and run "
            "it again"
        ) from error


def check_local(folder: Path) -> None:
    """Refuse an address, which a path looks like that was made of one.

    Raises:
        GalleryError: says what to do.
    """
    if any(part.removesuffix(":") in OF_ARROW for part in folder.parts if part.endswith(":")):
        raise GalleryError(
            f"{folder}: a gallery is written to a folder of this machine; pictures may lie at an "
            "address, not the gallery: copy it there once it is complete"
        )


def lock_folder(folder: Path, beside: Collection[str] = ()) -> IO[bytes]:
    """Make a folder and take its lock; the operating system gives it back when the process dies.

    Args:
        folder: the folder.
        beside: names of what may lie in it although it is no gallery.

    Raises:
        GalleryError: another process holds it, the folder holds files of others, or is an address.
    """
    check_local(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GalleryError(
            f"{folder}: cannot be made ({error.strerror}); choose a folder that you can write to"
        ) from error
    known = (folder / LOCK).exists() or has_manifest(folder)
    foreign = sorted({path.name for path in folder.iterdir()} - {*beside})
    if foreign and not known:
        raise GalleryError(
            f"{folder}: is not a gallery but holds {foreign[0]!r}; choose an empty folder"
        )
    with writing(folder):
        file = (folder / LOCK).open("ab")
    try:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # no such lock on this platform
        pass
    except OSError as error:
        file.close()
        raise GalleryError(f"{folder}: another process is building this gallery") from error
    return file


class Planned(Protocol):
    """A manifest: of a gallery, or of a local store."""

    @property
    def encoder(self) -> dict[str, object]:
        """What made the vectors, as its encoder describes itself."""
        ...

    def plan(self) -> dict[str, object]:
        """Return what must stay the same when a folder is continued."""
        ...


def check_plan(folder: Path, old: Planned, new: Planned, remedy: str) -> None:
    """Refuse to go on with other settings than a folder was begun with.

    Raises:
        GalleryError: names the settings that differ, then and now, and the remedy.
    """
    now = new.plan()
    told = []
    for key, value in old.plan().items():
        if now[key] == value:
            continue
        if key in DIGESTS:
            other = differences(old.encoder, new.encoder) or "whitened otherwise"
            told.append(f"an encoder of another {key}: {other}")
            break  # what else differs, such as the dimension, follows from it
        told.append(f"{key} {value}, now it is {now[key]}")
    if told:
        raise GalleryError(f"{folder}: was begun with {'; with '.join(told)}; {remedy}")


def check_empty(folder: Path, beside: Collection[str] = ()) -> None:
    """Refuse a folder with files that are no remains of a killed run, except those named.

    Raises:
        GalleryError: names one of them.
    """
    names = (path.name for path in folder.iterdir() if not is_leftover(path))
    foreign = [name for name in names if name not in beside]
    if foreign:
        raise GalleryError(
            f"{folder}: is not a gallery but holds {foreign[0]!r}; choose an empty folder"
        )


def drop_stale(folder: Path) -> None:
    """Forget what was begun in a complete gallery and has added nothing to it.

    Args:
        folder: of the gallery, whose lock is held.
    """
    begun, complete = folder / BUILDING, folder / MANIFEST
    if not begun.exists() or not complete.exists():
        return
    try:
        added = read_manifest(begun).images - read_manifest(complete).images
    except GalleryError:  # damaged by a power cut: whoever takes it up finds an older one
        return
    if added <= 0:
        begun.unlink()
