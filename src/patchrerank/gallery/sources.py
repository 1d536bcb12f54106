"""Where the images of a gallery come from."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

from patchrerank.errors import GalleryError, described
from patchrerank.images import ImageSource, find_images

Images = str | os.PathLike[str] | Iterable[str | os.PathLike[str] | tuple[str, ImageSource]]


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceItems:
    """Where images come from.

    Attributes:
        items: a stream of ``(id, image)``.
        count: its length, where known.
        root: the folder that ids are relative to, or None.
        left_out: in words, which files of the folder are no images; empty if all are.
    """

    items: Iterator[tuple[str, ImageSource]]
    count: int | None
    root: str | None
    left_out: str = ""


def open_source(images: Images) -> SourceItems:
    """Turn a folder, a list of files, or an iterator of ``(id, image)`` into one stream.

    Ids: of a folder, the path relative to it with forward slashes; of a list of files, the path
    as given; of pairs, the string given.

    Raises:
        GalleryError: a folder without images, or entries that are neither path nor pair.
        ImageError: the folder does not exist.
    """
    if isinstance(images, str | os.PathLike):
        root = Path(images)
        found = find_images(root)
        left_out = str(found) if found.left_out else ""
        if not found.files:
            why = f"; {left_out}" if left_out else ""
            raise GalleryError(f"{root}: no images found in this folder{why}")
        pairs = ((path.relative_to(root).as_posix(), path) for path in found.files)
        return SourceItems(pairs, len(found.files), str(root.resolve()), left_out)
    if not isinstance(images, Iterable):
        raise GalleryError(
            f"the images are {described(images)}; pass a folder of pictures, a list of files, or "
            "(id, image) pairs"
        )
    count = len(images) if isinstance(images, Sized) else None
    return SourceItems(_pairs(images), count, None)


def check_id(image_id: str) -> str:
    """Return an id that can be stored.

    Raises:
        GalleryError: it is empty, or no valid Unicode (a file name in another encoding).
    """
    if not image_id:
        raise GalleryError("an id is empty; pass (id, image) pairs with ids that name the image")
    try:
        image_id.encode("utf-8")
    except UnicodeEncodeError as error:
        raise GalleryError(
            f"id {image_id!r} is not valid Unicode; rename the file, or pass (id, image) pairs"
        ) from error
    return image_id


def with_sound_ids(items: Iterator[tuple[str, ImageSource]]) -> Iterator[tuple[str, ImageSource]]:
    """Pass over images whose ids cannot be stored, with a warning for each."""
    for image_id, image in items:
        try:
            yield check_id(image_id), image
        except GalleryError as error:
            logger.warning("skipped: %s", error)


def _pairs(
    entries: Iterable[str | os.PathLike[str] | tuple[str, ImageSource]],
) -> Iterator[tuple[str, ImageSource]]:
    for number, entry in enumerate(entries):
        if isinstance(entry, str | os.PathLike):
            yield os.fspath(entry), entry
        elif isinstance(entry, Sequence) and len(entry) == 2 and isinstance(entry[0], str):
            yield entry[0], entry[1]
        else:
            raise GalleryError(
                f"image {number} is {entry!r}; expected a path or a pair (id: str, image)"
            )
