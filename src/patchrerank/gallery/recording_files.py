"""Saying where the pictures of a gallery lie, and taking that along to copies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from patchrerank.errors import GalleryError, near_matches, shown
from patchrerank.gallery.folder import lock_folder
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.ids import NEAR_AMONG
from patchrerank.gallery.named_files import NamedFiles, read_named_files


def record_files(
    gallery: Gallery, files: Mapping[str, str | os.PathLike[str]], root: str | os.PathLike[str]
) -> None:
    """Say where the pictures of a gallery lie whose ids are no paths, as of ``(id, image)`` pairs.

    What looks at pictures again finds them there: the service's thumbnails, ``index --local``,
    spatial verification. It is kept beside the gallery, which is else as it was; ``root=``
    (``--root``) says where the folder has moved.

    Args:
        gallery: of one folder; it sees them once it is opened again.
        files: by id, as text; images that are not named have files named by their ids.
        root: the folder that they lie in; those elsewhere are kept as absolute paths.

    Raises:
        GalleryError: an id that the gallery does not hold (any more); a gallery of shards, or of
            pictures in tar or Parquet files; another process is at work on it.
        SettingError: the folder cannot be written.
    """
    made = gallery.manifest
    if gallery.shards is not None or made.pictures is not None:
        raise GalleryError(f"{gallery.folder}: knows where its pictures lie")
    there = Path(os.path.abspath(root))
    inside = {str(name): _below(Path(os.path.abspath(file)), there) for name, file in files.items()}
    with lock_folder(gallery.folder):
        _check_ids(Gallery(gallery.folder), inside)  # as it is now
        NamedFiles(str(there), inside).write(gallery.folder)


def _check_ids(gallery: Gallery, files: Mapping[str, str]) -> None:
    """Refuse ids that a gallery lacks: an image that comes under one later is another picture."""
    unknown = dict.fromkeys(files)
    for held in gallery.ids.living():
        unknown.pop(str(held), None)
    if not unknown:
        return
    first = next(iter(unknown))
    near = near_matches(first, islice(map(str, gallery.ids.living()), NEAR_AMONG))
    raise GalleryError(
        f"{gallery.folder}: {len(unknown)} of {len(files)} ids are not in it, for example "
        f"{shown(first)}{near or ';'} leave out those that it does not hold"
    )


def joined_files(galleries: Sequence[Gallery], folder: Path) -> None:
    """Give a folder what lies beside galleries whose images it will hold, if anything does."""
    held = [found for one in galleries if (found := read_named_files(one.place)) is not None]
    if not held:
        return
    root = Path(os.path.commonpath([one.root for one in held]))
    files = {
        name: _below(Path(one.root) / file, root)
        for one in held
        for name, file in one.files.items()
    }
    NamedFiles(str(root), files).write(folder)


def _below(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
