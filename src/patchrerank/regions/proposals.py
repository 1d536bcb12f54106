"""Regions that are found by looking at the picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.boxes import WHOLE_IMAGE, Floats
from patchrerank.errors import RegionError
from patchrerank.regions.base import Regions
from patchrerank.regions.fixed_boxes import UPRIGHT, FixedBoxes

if TYPE_CHECKING:
    from PIL import Image


class Proposals(ABC):
    """The whole image, then what a method proposes for a picture; a :class:`Regions`.

    A new method is one file with one class that has ``spec`` and ``propose``.
    """

    @property
    @abstractmethod
    def spec(self) -> str:
        """The method and its settings as text: equal specs give equal boxes for a picture."""

    @property
    def finest(self) -> None:
        """Not known before looking."""
        return None

    @abstractmethod
    def propose(self, picture: Image.Image) -> Floats:
        """Return float32 ``(P, 4)`` relative boxes, best first; P may be 0 and differ by picture.

        Called by several threads at a time, each with a picture of its own (upright RGB).
        """

    def boxes(self, image_id: str, width: int, height: int) -> Floats:
        """Refuse: the boxes do not follow from the size alone.

        Raises:
            RegionError: always; :func:`boxes_in` takes the picture.
        """
        raise RegionError(
            f"regions {self.spec!r} are found in the picture itself, and only the size of "
            f"{image_id!r} was given; use boxes_in(regions, image_id, picture, (width, height))"
        )


def boxes_in(
    regions: Regions,
    image_id: str,
    picture: Image.Image,
    size: tuple[int, int],
    orientation: int = UPRIGHT,
) -> Floats:
    """Return the regions of a picture, by any strategy.

    Args:
        regions: the strategy.
        image_id: the gallery id of the image.
        picture: upright; may be smaller than the image where ``regions.finest`` allows it.
        size: width and height of the upright image, in pixels.
        orientation: EXIF orientation of the stored picture, 1 to 8; boxes that were given in its
            stored pixels are turned with it.

    Returns:
        float32 ``(P, 4)`` relative boxes; the whole image, if among them, comes first. Proposals
        are widened to whole pixels.

    Raises:
        RegionError: the strategy has nothing to say about this image.
    """
    if isinstance(regions, FixedBoxes):
        return regions.boxes_of(image_id, size, orientation)
    if not isinstance(regions, Proposals):
        return regions.boxes(image_id, *size)
    found = _on_pixels(regions.propose(picture.convert("RGB")), size)
    return np.concatenate([WHOLE_IMAGE[None], found])


def suppress(boxes: Floats, overlap: float) -> Floats:
    """Return the boxes, best first, without those that overlap a better one by more (IoU)."""
    from patchrerank.boxes import iou

    kept: list[Floats] = []
    for box in boxes:
        if not kept or iou(box, np.stack(kept)).max() <= overlap:
            kept.append(box)
    return np.stack(kept) if kept else boxes[:0]


def _on_pixels(boxes: Floats, size: tuple[int, int]) -> Floats:
    """Return boxes widened to whole pixels of an image of ``size``, none of them empty."""
    scale = np.array([*size, *size], dtype=np.float64)
    pixels = boxes.reshape(-1, 4) * scale
    low = np.floor(pixels[:, :2] + 1e-3).clip(0, scale[:2] - 1)
    high = np.ceil(pixels[:, 2:] - 1e-3).clip(low + 1, scale[:2])
    return (np.concatenate([low, high], axis=1) / scale).astype(np.float32)
