"""Taking a folder over for writing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO

from patchrerank.errors import GalleryError

LOCK = "build.lock"
OURS = (".bin", ".tmp", ".npz")


def lock_folder(folder: Path) -> IO[bytes]:
    """Make a folder and take its lock; the operating system gives it back when the process dies.

    Raises:
        GalleryError: another process holds it, or the folder holds files of others.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GalleryError(f"{folder}: cannot be made ({error.strerror})") from error
    known = (folder / LOCK).exists() or (folder / "manifest.json").exists()
    foreign = [] if known else sorted(path.name for path in folder.iterdir())
    if foreign:
        raise GalleryError(
            f"{folder}: is not a gallery but holds {foreign[0]!r}; choose an empty folder"
        )
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


def check_plan(
    folder: Path, old: Mapping[str, object], new: Mapping[str, object], who: str, remedy: str
) -> None:
    """Refuse to go on with other settings than a folder was begun with.

    Raises:
        GalleryError: names the first setting that differs, the encoders (``who``), and the remedy.
    """
    for key, value in old.items():
        if new[key] != value:
            raise GalleryError(
                f"{folder}: was begun with {key} = {value!r}, now it is {new[key]!r} ({who}); "
                f"{remedy}"
            )


def check_empty(folder: Path) -> None:
    """Refuse a folder with files that are no remains of a killed run.

    Raises:
        GalleryError: names one of them.
    """
    foreign = [
        path.name for path in folder.iterdir() if path.suffix not in OURS and path.name != LOCK
    ]
    if foreign:
        raise GalleryError(
            f"{folder}: is not a gallery but holds {foreign[0]!r}; choose an empty folder"
        )
