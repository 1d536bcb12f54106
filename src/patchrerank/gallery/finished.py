"""A gallery that is complete: whether what is asked for is what is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.addresses import place_of
from patchrerank.errors import GalleryError
from patchrerank.gallery.folder import lock_folder, writing
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.manifest import BUILDING, MANIFEST
from patchrerank.gallery.pictures import check_root
from patchrerank.gallery.settings import (
    check_one_folder,
    check_pictures,
    check_settings,
    roots_differ,
)
from patchrerank.gallery.sources import Source, items_to_come

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder
    from patchrerank.gallery.build_options import BuildOptions
    from patchrerank.regions import Regions


def is_complete(folder: Path) -> bool:
    """Return whether a gallery stands there that nothing is being added to."""
    return (folder / MANIFEST).exists() and not (folder / BUILDING).exists()


def finished(
    folder: Path, source: Source, encoder: Encoder, regions: Regions, options: BuildOptions
) -> Gallery:
    """Return a complete gallery that holds all that is asked for; nothing is encoded.

    A run that is killed after its last image leaves such a gallery, and the same command again
    then has nothing to do.

    Raises:
        GalleryError: it was made with other settings, of another folder, or lacks an image.
    """
    made = Gallery(folder)
    check_one_folder(folder, made.manifest)
    try:
        check_settings(folder, made.manifest, encoder, regions, options)
        check_pictures(folder, made.manifest, source.pictures, source.id_type)
    except GalleryError as error:
        raise GalleryError(
            f"{error}; this gallery is complete: append=True (--append) adds images to it, made "
            "with its own settings"
        ) from error
    if options.root is not None:
        made = re_rooted(made, options.root)
    if roots_differ(made.manifest, source.root):
        raise GalleryError(other_folder(folder, made.manifest.root, source.root))
    known = {*made.ids.living(), *(name for name, _ in made.manifest.skipped)}
    coming = items_to_come(source, made.manifest.pictures, options)
    missing = next((image_id for image_id, _ in coming if image_id not in known), None)
    if missing is not None:
        raise GalleryError(
            f"{folder}: this gallery is complete, and {missing!r} is not in it; pass append=True "
            "(--append) to add images"
        )
    return made


def re_rooted(gallery: Gallery, root: str | Path) -> Gallery:
    """Record where a gallery's pictures are now.

    Raises:
        GalleryError: they are not there, or another process is at work on the gallery.
    """
    check_root(gallery.folder, gallery.pictures_below(root), gallery.sizes, root, gallery.live)
    there = str(place_of(root).resolve())
    if gallery.manifest.root in (None, there):
        return gallery
    with lock_folder(gallery.folder), writing(gallery.folder, len(gallery)):
        replace(gallery.manifest, root=there).write(gallery.folder / MANIFEST)
    return Gallery(gallery.folder)


def other_folder(folder: Path, root: str | None, asked: str | None) -> str:
    """Say that images of another folder are in a gallery, and what to do."""
    if root is None:
        return (
            f"{folder}: its ids are not relative to a folder, so those of {asked} would be mixed "
            "with them; pass (id, image) pairs, or import it again with root= (--root) if its ids "
            "are names below that folder"
        )
    return (
        f"{folder}: holds images of {root}; ids of {asked} would be mixed with them. If these are "
        f"the same pictures, moved, say so with root= (--root {asked}); to index several folders "
        "together pass (id, image) pairs"
    )
