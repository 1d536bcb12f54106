"""Giving a gallery its backgrounds, out of its own pictures or others of the kind."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import cast

from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery.backgrounds import BACKGROUNDS, COUNT, MOST, cut_backgrounds
from patchrerank.gallery.folder import lock_folder, writing
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.identity import is_imported
from patchrerank.images import ImageSource

logger = logging.getLogger(__name__)

IMPORTED_SIZE = (224, 224)
"""Of crops for a gallery whose encoder's input size is not known."""


def write_backgrounds(
    gallery: Gallery,
    pictures: Mapping[str, ImageSource] | Sequence[ImageSource] | None = None,
    *,
    count: int = COUNT,
    seed: int = 0,
) -> Gallery:
    """Cut backgrounds for query views out of pictures, and keep them with a gallery.

    Those that it has are replaced. The same pictures and seed give the same bytes, with the same
    version of Pillow. They are crops of pictures: whoever gets the gallery sees them.

    Args:
        gallery: which keeps them.
        pictures: ``{gallery id: picture}``, or other pictures of the same kind; None: the files
            that it was built from.
        count: of crops, 1 to 1024.
        seed: of what is cut out.

    Returns:
        The gallery, opened anew.

    Raises:
        SettingError: an impossible count.
        GalleryError: none of the pictures can be read, or the folder cannot be written.
    """
    if not 1 <= count <= MOST:
        raise SettingError(f"count must lie in 1 … {MOST}, got {count}")
    if pictures is None or isinstance(pictures, Mapping):
        ids, total = [str(gallery.ids[row]) for row in gallery.live], gallery.live_count
    else:
        ids, total = [], len(pictures)

    def picture_of(row: int) -> ImageSource:
        if pictures is None:
            return gallery.pictures[int(gallery.live[row])]
        if isinstance(pictures, Mapping):
            return pictures.get(ids[row], b"")
        return pictures[row]

    found = cut_backgrounds(picture_of, ids, total, _size(gallery), count=count, seed=seed)
    if found is None:
        raise GalleryError(
            f"{gallery.folder}: no backgrounds for query views: none of its pictures can be read "
            f"where they were; say where they are now (patchrerank backgrounds {gallery.folder} "
            "--root FOLDER), or name other pictures of the same kind (--from FOLDER)"
        )
    with lock_folder(gallery.place), writing(gallery.place, len(gallery)):
        found.save(gallery.place / BACKGROUNDS)
    return Gallery(gallery.place)


def keep_backgrounds(built: Gallery, count: int, images: object) -> Gallery:
    """Return a gallery that keeps backgrounds, if its pictures can be read once more.

    They can where they are files, or pairs in a list. What it keeps already stays.

    Args:
        built: the gallery.
        count: of crops; 0: none.
        images: what it was built from.
    """
    if not count or built.has_backgrounds:
        return built
    pairs = isinstance(images, list | tuple) and all(isinstance(item, tuple) for item in images)
    pictures = dict(cast("list[tuple[str, ImageSource]]", images)) if pairs else None
    try:
        return write_backgrounds(built, pictures, count=count)
    except GalleryError as error:
        logger.info("%s", error)
        return built


def _size(gallery: Gallery) -> tuple[int, int]:
    """Return (height, width) in pixels of the input of a gallery's encoder."""
    record = gallery.manifest.encoder
    if is_imported(record):
        return IMPORTED_SIZE
    preprocessing = record["preprocessing"]
    height, width = preprocessing["image_size"]  # type: ignore[index]  # checked when it was read
    return int(height), int(width)
