"""Which files of pictures a name, a folder, a pattern or a list stands for."""

from __future__ import annotations

import fnmatch
import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from patchrerank.addresses import Address, Place, is_address, place_of
from patchrerank.errors import GalleryError
from patchrerank.gallery.places import FILES

SQUEEZED = (".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
PATTERN = re.compile(r"[*?\[{]")
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
MOST_EXPANDED = 100_000


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Return whether a file, by its name, is one that pictures may lie in, or compressed."""
    return bool(_suffix(place_of(path))) or os.fspath(path).lower().endswith(SQUEEZED)


def packed_files(images: object) -> tuple[list[Place], Place] | None:
    """Return the files that a file's name, a folder, a pattern or a list of files stands for.

    Returns:
        Files in order, and the folder that their names are relative to; None: it stands for
        something else.

    Raises:
        GalleryError: compressed tars, a pattern that fits nothing, or files of several kinds.
    """
    if isinstance(images, str | os.PathLike | Address):
        text = str(images) if isinstance(images, Address) else os.fspath(images)
        if text.lower().endswith(SQUEEZED):
            raise GalleryError(
                f"{text}: is compressed, and no picture can be found again in it without reading "
                "all before it; uncompress it (pictures hardly get smaller by it)"
            )
        path = place_of(text)
        if path.is_dir():
            return _in_folder(path)
        if not _suffix(path):
            return None
        if path.exists() or not PATTERN.search(text):
            return [path], path.parent
        return _matching(text)
    if not isinstance(images, list | tuple) or not images:
        return None
    paths = [place_of(item) for item in images if isinstance(item, str | os.PathLike | Address)]
    kinds = {_suffix(path) for path in paths}
    if len(paths) < len(images) or kinds == {""}:
        return None
    if len(kinds) > 1:
        raise GalleryError("the files are of several kinds; pass tar shards, or Parquet files")
    absolute = [path.absolute() for path in paths]
    return absolute, _common(absolute)


def _common(files: Sequence[Place]) -> Place:
    """Return the folder that files lie in, however deep."""
    if not any(isinstance(path, Address) for path in files):
        return Path(os.path.commonpath([str(path.parent) for path in files]))
    begin, *others = (str(path.parent).split("/") for path in files)
    shared = list(
        itertools.takewhile(lambda part: len(set(part)) == 1, zip(begin, *others, strict=False))
    )
    if len(shared) < 3:
        raise GalleryError("the files lie at several places; pass those of one bucket, or machine")
    return place_of("/".join(part[0] for part in shared))


def _in_folder(folder: Place) -> tuple[list[Place], Place] | None:
    for suffix in FILES:
        found: list[Any] = sorted(folder.rglob(f"*.{suffix}"), key=lambda path: path.parts)
        files = [path for path in found if path.is_file() and not path.name.startswith("._")]
        if files:
            return files, folder
    return None


def _matching(pattern: str) -> tuple[list[Place], Place]:
    """Return the files of a pattern with ``{000..012}``, ``{a,b}``, ``*``, ``?`` and ``[…]``."""
    parts = pattern.split("/")[:-1] if is_address(pattern) else Path(pattern).parts[:-1]
    fixed = list(itertools.takewhile(lambda part: not PATTERN.search(part), parts))
    root = place_of("/".join(fixed)) if is_address(pattern) else Path(*fixed)
    files: list[Place] = []
    _listed.cache_clear()  # patterns of one call share a listing, later ones see what is new
    for name in itertools.islice(_expanded(pattern), MOST_EXPANDED):
        files += _fitting(name, root) if glob.has_magic(name) else [place_of(name)]
    if not files:
        raise GalleryError(f"{pattern}: no file fits this pattern")
    return list(dict.fromkeys(files)), root


def _fitting(pattern: str, root: Place) -> list[Place]:
    if not isinstance(root, Address):
        return [Path(item) for item in sorted(glob.glob(pattern, recursive=True))]
    wanted = Address(pattern).parts
    found = [file for file in _listed(root) if len(file.parts) == len(wanted)]
    fits = [file for file in found if all(map(fnmatch.fnmatchcase, file.parts, wanted))]
    return sorted(fits, key=lambda file: file.parts)


@lru_cache(maxsize=1)
def _listed(root: Address) -> tuple[Address, ...]:
    try:
        return tuple(root.rglob())
    except FileNotFoundError:
        return ()


def _expanded(pattern: str) -> Iterator[str]:
    """Expand the first braces of a pattern, then the others; ranges keep their leading zeros."""
    braces = BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    span = RANGE.fullmatch(braces[1])
    if span is None:
        parts: Any = braces[1].split(",")
    else:
        first, last, width = int(span[1]), int(span[2]), len(span[1])
        parts = (f"{n:0{width}d}" for n in range(first, last + 1))
    for part in parts:
        yield from _expanded(f"{pattern[: braces.start()]}{part}{pattern[braces.end() :]}")


def _suffix(path: Place) -> str:
    suffix = path.suffix.lower().removeprefix(".")
    return suffix if suffix in FILES else ""
