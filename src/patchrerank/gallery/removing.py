"""Images taken out of a gallery: their rows are flagged, and later readers do not find them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from patchrerank.errors import GalleryError
from patchrerank.gallery.backgrounds import forget_backgrounds
from patchrerank.gallery.folder import drop_stale, lock_folder, writing
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.manifest import BUILDING, MANIFEST
from patchrerank.gallery.named_files import forget_files
from patchrerank.gallery.removed_rows import sweep, write_flags


def remove(folder: str | os.PathLike[str], ids: Sequence[Any]) -> Gallery:
    """Remove images from a gallery, all of them at once or none.

    Their rows are flagged: nothing is rewritten, no other row changes its number, and the bytes
    are given back by :func:`patchrerank.gallery.compact`. Whoever has the gallery open keeps what
    it had; whoever opens it later does not find them. Backgrounds cut from their pictures are
    deleted at once. Local descriptors and patch indexes go on
    to be valid.

    Args:
        folder: of the gallery.
        ids: of the images; one that is named twice is removed once.

    Returns:
        The gallery, opened again.

    Raises:
        ShortlistError: an id that the gallery does not hold, or of another kind; nothing is
            removed then.
        GalleryError: no gallery; images are being added to it, or an append was interrupted; it
            cannot be written.
    """
    with changing(folder) as gallery:
        flags = gallery.removed.copy()
        flags[gallery.rows_of(ids)] = True
        if int(flags.sum()) > len(gallery) - gallery.live_count:
            made = write_flags(gallery.folder, gallery.manifest, flags)
            forget_backgrounds(gallery.folder, lambda: set(map(str, ids)))
            made.write(gallery.folder / MANIFEST)
            forget_files(gallery.folder, ids)
            sweep(gallery.folder, made.arrays)
    return Gallery(folder)


@contextmanager
def changing(folder: str | os.PathLike[str]) -> Iterator[Gallery]:
    """Give a complete gallery to one who changes it, with its lock.

    Raises:
        GalleryError: no gallery, another process is at work on it, or an append was interrupted;
            or it cannot be written.
    """
    target = Gallery(folder).folder
    with lock_folder(target):
        opened = Gallery(target)
        drop_stale(target)
        if (target / BUILDING).exists():
            raise GalleryError(
                f"{target}: adding images was interrupted; run the same index or sync command "
                "again to finish it first"
            )
        with writing(target, opened.live_count):
            yield opened
