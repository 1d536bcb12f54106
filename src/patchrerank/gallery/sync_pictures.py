"""The pictures of a folder or address that a gallery follows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from patchrerank.addresses import Address, Place, below
from patchrerank.errors import GalleryError
from patchrerank.gallery.sources import check_id
from patchrerank.gallery.stamps import file_state
from patchrerank.gallery.sync_options import SyncOptions
from patchrerank.gallery.sync_plan import Item
from patchrerank.images import FoundImages, find_images, needs_extra

logger = logging.getLogger(__name__)


def check_times(items: Sequence[Item], options: SyncOptions) -> None:
    """Refuse to tell changes by times where an address tells none.

    Raises:
        GalleryError: says what to do.
    """
    remote = bool(items) and isinstance(items[0][1], Address)
    if not remote or options.checksum:
        return
    timeless = [path for _, path in items if not file_state(path)[1]]
    if timeless:
        raise GalleryError(
            f"{timeless[0]}: nobody says when it was changed; compare contents (--checksum)"
        )


def found_below(root: Place) -> FoundImages:
    """Return the pictures of a folder.

    Raises:
        GalleryError: there are none.
    """
    found = find_images(root)
    if not found.files:
        raise GalleryError(
            f"{root}: no images found in this folder; a gallery is not emptied by sync: take out "
            "its images with remove, or delete it"
        )
    return found


def is_hidden(path: Place, found: FoundImages) -> bool:
    """Tell a picture of which nobody can say that it is gone, though it is not among the found."""
    unread = isinstance(path, Path) and any(map(path.is_relative_to, found.unread))
    return unread or needs_extra(path)


def pictures_in(root: Place, found: FoundImages, options: SyncOptions) -> list[Item]:
    """Return id and file of each picture.

    Raises:
        GalleryError: an id that cannot be stored, unless such pictures are skipped.
    """
    pairs = ((below(path, root), path) for path in found.files)
    if options.on_error == "raise":
        return [(check_id(name), path) for name, path in pairs]
    return [(name, path) for name, path in pairs if _is_sound(name)]


def _is_sound(name: str) -> bool:
    try:
        return bool(check_id(name))
    except GalleryError as error:
        logger.warning("skipped: %s", error)
        return False
