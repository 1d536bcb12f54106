"""The object on a plain background: a mask for query pictures such as product photographs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

TOLERANCE = 12
"""How far a background pixel may lie from the background's colour, in 8-bit steps a channel."""

PLAIN_SHARE = 0.95
"""The share of the picture's outermost pixels that must be background for it to be plain."""


def foreground_mask(picture: Image.Image) -> npt.NDArray[np.bool_] | None:
    """Return where a picture is not its plain background: bool ``(H, W)``.

    The background's colour is the median of the outermost pixels. Background are the pixels
    within ``TOLERANCE`` of it that are joined to the picture's edge by such pixels, so that a
    white label on an object before a white wall stays part of the object.

    Returns:
        None if the background is not plain (fewer than ``PLAIN_SHARE`` of the outermost pixels
        have its colour), or if nothing else is in the picture.
    """
    from scipy.ndimage import label

    pixels = np.asarray(picture.convert("RGB"))
    edge = np.ones(pixels.shape[:2], dtype=bool)
    edge[1:-1, 1:-1] = False
    colour = np.median(pixels[edge], axis=0)
    lowest = np.ceil(colour - TOLERANCE).clip(0).astype(int).tolist()
    highest = np.floor(colour + TOLERANCE).clip(max=255).astype(int).tolist()
    if _within(pixels[edge], lowest, highest).mean() < PLAIN_SHARE:
        return None
    similar = _within(pixels, lowest, highest)
    areas, count = label(similar)
    ground = np.zeros(count + 1, dtype=bool)
    ground[areas[edge & similar]] = True
    mask = ~ground[areas]
    return mask if mask.any() else None


def _within(
    pixels: npt.NDArray[np.uint8], lowest: list[int], highest: list[int]
) -> npt.NDArray[np.bool_]:
    """Return of pixels ``(…, 3)`` which ones lie within bounds in all channels."""
    found = np.ones(pixels.shape[:-1], dtype=bool)
    for channel, low, high in zip(np.moveaxis(pixels, -1, 0), lowest, highest, strict=True):
        found &= (channel >= low) & (channel <= high)
    return found
