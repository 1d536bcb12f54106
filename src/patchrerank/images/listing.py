"""Which files below a folder are pictures, and which were left out and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patchrerank.addresses import Address, Place, place_of
from patchrerank.errors import ImageError
from patchrerank.images.heic import HEIC_SUFFIXES, REMEDY, can_read_heic

IMAGE_SUFFIXES = (
    ".avif",
    ".bmp",
    ".gif",
    ".jfif",
    ".jpeg",
    ".jpg",
    ".jp2",
    ".mpo",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
    *HEIC_SUFFIXES,
)

OF_THE_SYSTEM = (".ds_store", "thumbs.db", "desktop.ini")
"""Files that file managers leave behind; nobody misses them."""

COMPANION = "._"
"""How macOS names what it keeps beside each file of a foreign disk; it is no picture."""

MOST_TOLD = 8


@dataclass(frozen=True)
class FoundImages:
    """The pictures below a folder.

    Attributes:
        files: sorted by their path relative to the folder.
        left_out: how many other files and folders there are, by why they were left out.
        unread: folders that cannot be read; what is in them nobody knows.
    """

    files: tuple[Place, ...]
    left_out: dict[str, int]
    unread: tuple[Path, ...] = ()

    def __str__(self) -> str:
        """Say what was left out, most first, such as ``left out 3 files: 2 .txt, 1 .pdf``."""
        counts = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        parts = [f"{count:,} {reason}" for reason, count in counts]
        if len(parts) > MOST_TOLD:
            parts[MOST_TOLD:] = [f"{len(parts) - MOST_TOLD} other kinds"]
        total = sum(self.left_out.values())
        return f"left out {total:,} {'file' if total == 1 else 'files'}: {', '.join(parts)}"


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return all pictures below ``folder``, sorted by their relative path: :func:`find_images`.

    Raises:
        ImageError: ``folder`` is not a directory.
    """
    return [Path(file) for file in find_images(Path(folder)).files if isinstance(file, Path)]


def find_images(folder: str | os.PathLike[str] | Address) -> FoundImages:
    """Return all files below ``folder`` with an image suffix, and count what is left out.

    Links are followed, to files and to folders; a folder that was listed already, such as one
    that a link leads back to, is not listed again. Left out, and counted: files of other suffixes,
    HEIC without pillow-heif, companions of macOS (``._NAME``), what is no regular file
    (pipes, sockets, broken links), and folders that cannot be read.

    Of an address all files are listed whose address begins with it and a slash.

    Raises:
        ImageError: ``folder`` is not a directory, or cannot be read.
        GalleryError: the address cannot be listed.
    """
    root = place_of(folder)
    if isinstance(root, Address):
        return _at_address(root)
    if not root.is_dir():
        raise ImageError(f"{root}: not a folder; pass a folder of pictures")
    try:
        os.scandir(root).close()
    except OSError as error:
        raise ImageError(f"{root}: cannot be read ({error.strerror})") from error
    walk = _Walk(heic=can_read_heic())
    walk.through(root)
    files = sorted(walk.files, key=lambda path: path.relative_to(root).parts)
    if walk.unread:
        walk.left_out["folders that cannot be read"] = len(walk.unread)
    return FoundImages(tuple(files), dict(walk.left_out), tuple(walk.unread))


def _at_address(root: Address) -> FoundImages:
    walk = _Walk(heic=can_read_heic())
    try:
        for address in root.rglob():
            if "" in address.parts[len(root.parts) :]:
                walk.left_out["with // in the name, which cannot be asked for"] += 1
            else:
                walk.take(address)
    except FileNotFoundError as error:
        if root.is_file():
            raise ImageError(
                f"{root}: is a file; pass the address of a folder of pictures, of tar shards or "
                "of Parquet files, or a list of addresses"
            ) from error
        raise ImageError(f"{root}: there is nothing below this address") from error
    files = sorted(walk.files, key=lambda one: one.relative_to(root).parts)
    return FoundImages(tuple(files), dict(walk.left_out))


def needs_extra(path: Place) -> bool:
    """Tell a file that is there, but is left out until a package is installed that reads it."""
    return path.suffix.lower() in HEIC_SUFFIXES and not can_read_heic() and path.is_file()


@dataclass
class _Walk:
    """Folders first, links to folders after them, so that a link takes no folder's place."""

    heic: bool
    files: list[Any] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    unread: list[Path] = field(default_factory=list)
    _links: list[Path] = field(default_factory=list)
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def through(self, root: Path) -> None:
        self._folder(root)
        while self._links:
            self._folder(self._links.pop(0))

    def _folder(self, top: Path) -> None:
        for entry in _entries(top, self._seen, self.unread):
            path = Path(entry.path)
            if entry.is_symlink() and path.is_dir():
                self._links.append(path)
                continue
            self.take(path)

    def take(self, path: Place) -> None:
        """Take a file for a picture, or count why it is left out."""
        reason = self._reason(path)
        if reason is None:
            self.files.append(path)
        elif path.name.lower() not in OF_THE_SYSTEM:
            self.left_out[reason] += 1

    def _reason(self, path: Place) -> str | None:
        """Return why a file is left out; None: it is a picture."""
        suffix = path.suffix.lower()
        if path.name.startswith(COMPANION):
            return "._* (companions of macOS)"
        if suffix not in IMAGE_SUFFIXES:
            return suffix or "without a suffix"
        if not path.is_file():
            return "that are no regular files (pipes, sockets, broken links)"
        if suffix in HEIC_SUFFIXES and not self.heic:
            return f"{suffix} (install {REMEDY})"
        return None


def _entries(
    top: Path, seen: set[tuple[int, int]], unread: list[Path]
) -> Iterator[os.DirEntry[str]]:
    """Yield everything below a folder but its real folders, each of which is entered once."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            state = folder.stat()
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
            if not os.access(folder, os.X_OK):  # it may be listed, but not entered
                raise PermissionError
        except OSError:
            unread.append(folder)
            continue
        waiting += [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        yield from (entry for entry in entries if not entry.is_dir(follow_symlinks=False))
