"""Masks that come with a query picture: where in it the object is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchrerank.errors import QueryError, shown
from patchrerank.images.alpha import SOLID, alpha_mask
from patchrerank.images.reading import read_image

Mask = npt.NDArray[np.bool_]


def read_mask(mask: Any, size: tuple[int, int], name: str) -> Mask:
    """Return where the object is in a query picture: bool ``(H, W)``.

    Args:
        mask: bool or number ``(H, W)``, true or above 0 on the object; or a picture as
            :func:`patchrerank.images.read_image` takes it, which is light, or not transparent, on
            the object.
        size: width and height of the upright picture, in pixels.
        name: of the query, for messages.

    Raises:
        QueryError: not of the picture's size, true nowhere, or no mask at all.
        ImageError: a mask's file cannot be read.
    """
    found = _values(mask, name)
    if found.shape != size[::-1]:
        raise QueryError(
            f"{name}: its mask has {found.shape[1]} × {found.shape[0]} pixels, the picture "
            f"{size[0]} × {size[1]} (upright); make the mask of the picture's size"
        )
    if not found.any():
        raise QueryError(
            f"{name}: its mask is empty; it must be light (true) where the object is, or be left "
            "out"
        )
    return found


def _values(mask: Any, name: str) -> Mask:
    if isinstance(mask, str | bytes | Image.Image) or hasattr(mask, "__fspath__"):
        return _of_picture(mask)
    array = np.asarray(mask)
    if array.ndim != 2 or array.dtype.kind not in "biuf" or 0 in array.shape:
        raise QueryError(
            f"{name}: its mask is {shown(mask)}; use booleans (H, W), or a picture of the mask"
        )
    return array > 0


def _of_picture(mask: Any) -> Mask:
    solid = alpha_mask(mask)
    if solid is not None:
        return solid
    return np.asarray(read_image(mask).convert("L")) >= SOLID
