"""Pictures that have moved since a gallery was built: where they are now, checked against ids."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from patchrerank.errors import GalleryError, ImageError
from patchrerank.gallery.arrays import Array
from patchrerank.gallery.ids import Ids
from patchrerank.images import upright_size
from patchrerank.types import Rows

MOST_LOOKED_AT = 32
"""Pictures whose size is compared, spread over the gallery."""


def picture_below(root: str | os.PathLike[str], image_id: str, common: str = "") -> Path:
    """Return where the picture of an id lies below ``root``.

    Args:
        root: folder that the pictures are in now.
        image_id: a path relative to it, or an absolute one of before.
        common: folder that all ids lay in, where they are absolute.
    """
    inside = Path(image_id)
    return Path(root) / (inside.relative_to(common) if common else inside)


def common_folder(ids: Sequence[str]) -> str:
    """Return the folder that all ids lie in, if they are absolute paths; else an empty text."""
    if not ids or not all(map(os.path.isabs, ids)):
        return ""
    return os.path.commonpath([os.path.dirname(image_id) for image_id in ids])


def check_root(
    gallery: Path, ids: Ids, sizes: Array, root: str | os.PathLike[str], live: Rows
) -> None:
    """Refuse a folder that a gallery's pictures are not in.

    Args:
        gallery: its folder, for messages.
        ids: of its N rows.
        sizes: int ``(N, 2)``, width and height of each upright picture; 0 where unknown.
        root: where the pictures should be.
        live: int64 ``(n,)``, the rows that are there.

    Raises:
        GalleryError: some are missing there, or have another size (up to 32 are looked at).
    """
    common = common_folder(list(ids.living()))
    some = np.unique(np.linspace(0, len(live) - 1, min(len(live), MOST_LOOKED_AT)).round())
    for row in live[some.astype(int)].tolist():
        path = picture_below(root, ids[row], common)
        try:
            size = upright_size(path, max_pixels=None)
        except ImageError as error:
            raise GalleryError(
                f"{root}: is not where the pictures of {gallery} are: {error}"
            ) from error
        if sizes[row].any() and size != tuple(int(side) for side in sizes[row]):
            raise GalleryError(
                f"{root}: is not where the pictures of {gallery} are: {path} has "
                f"{size[0]} × {size[1]} pixels, the gallery's picture had "
                f"{sizes[row][0]} × {sizes[row][1]}"
            )
