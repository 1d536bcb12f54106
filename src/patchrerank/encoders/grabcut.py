"""The object inside a box, by GrabCut; needs the ``opencv`` extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.boxes import Floats, to_pixels
from patchrerank.errors import MissingExtraError
from patchrerank.images import Mask

if TYPE_CHECKING:
    from PIL import Image

ROUNDS = 5
SIDE = 256
"""Pixels of the longer side at which GrabCut works."""
LEAST = 0.1
"""Share of its box that an object fills at least; less is taken for a failure."""


def grabcut_mask(picture: Image.Image, box: Floats) -> Mask | None:
    """Return where the object inside a box is: bool ``(H, W)``.

    Deterministic. Source: Rother, Kolmogorov & Blake, "GrabCut" (SIGGRAPH 2004).

    Args:
        picture: upright RGB.
        box: float32 ``(4,)`` in [0, 1].

    Returns:
        None where the box is the whole picture, so that nothing is known to be ground, or where
        next to nothing in it is the object.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError(
            'query views by GrabCut need OpenCV; install it with: pip install "patchrerank[opencv]"'
            f" ({error})"
        ) from error
    from PIL import Image

    scale = min(1.0, SIDE / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    pixels = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BOX))
    left, top, right, bottom = to_pixels(box, *size)
    labels = np.full(pixels.shape[:2], cv2.GC_BGD, dtype=np.uint8)
    labels[top:bottom, left:right] = cv2.GC_PR_FGD
    if (labels != cv2.GC_BGD).all():
        return None
    cv2.setRNGSeed(0)
    ground, thing = np.zeros((1, 65)), np.zeros((1, 65))
    flipped: Any = pixels[..., ::-1].copy()
    cv2.grabCut(flipped, labels, None, ground, thing, ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = (labels == cv2.GC_PR_FGD) | (labels == cv2.GC_FGD)
    if found.sum() < LEAST * (bottom - top) * (right - left):
        return None
    grey = Image.fromarray(found.astype(np.uint8) * np.uint8(255))
    return np.asarray(grey.resize(picture.size, Image.Resampling.BILINEAR)) > 127
