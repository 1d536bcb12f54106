"""What of a picture is transparent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from patchrerank.images.reading import ImageSource, opened_picture

OPAQUE = 250
"""From this alpha on a pixel hides all that is behind it."""
SOLID = 128
"""From this alpha on a pixel belongs to the object."""


def alpha_mask(source: ImageSource) -> npt.NDArray[np.bool_] | None:
    """Return where an upright picture is not transparent: bool ``(H, W)``.

    Args:
        source: as for :func:`patchrerank.images.read_image`.

    Returns:
        None where it has no transparency, all of its pixels hide what is behind them, or none
        does.

    Raises:
        ImageError: it cannot be read.
    """
    with opened_picture(source) as picture:
        if not _may_be_transparent(picture):
            return None
        upright = ImageOps.exif_transpose(picture)
        alpha = np.asarray(upright.convert("RGBA").getchannel("A"))
    mask = alpha >= SOLID
    return None if (alpha >= OPAQUE).all() or not mask.any() else mask


def _may_be_transparent(picture: Image.Image) -> bool:
    return picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info
