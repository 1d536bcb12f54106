"""Selective search: proposals from colour, texture, size and fill, without a trained network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import Floats, area, iou
from patchrerank.errors import MissingExtraError, RegionError
from patchrerank.regions.base import MOST_REGIONS, check_count
from patchrerank.regions.proposals import Proposals, suppress

if TYPE_CHECKING:
    from PIL import Image

AGREE = 0.7
"""Overlap from which two segments of different groupings count as the same thing."""
OVERLAP = 0.6
"""The most that two kept boxes may overlap."""
AREAS = (0.01, 0.8)
ELONGATION = 3.5


@dataclass(frozen=True)
class SelectiveSearch(Proposals):
    """The whole image and up to ``top`` boxes of selective search.

    Segments of several colour spaces and similarities are merged step by step (OpenCV's "fast"
    variant). OpenCV orders the boxes that come up at random; here those come first that most
    others agree with (IoU at least 0.7), the larger first of equals, and boxes that overlap a
    better one by more than 0.6 are left out, as are those below 1 % or above 80 % of the image
    and those longer than 3.5 times their width. Equal pictures give equal boxes.

    Source: Uijlings et al., Selective Search for Object Recognition (IJCV 2013).

    Attributes:
        top: the most boxes beside the whole image, at least 1.
        side: the longer side, in pixels, to which a larger picture is shrunk before.
        most: the most boxes allowed; None: no limit.
    """

    top: int = 20
    side: int = 160
    most: int | None = field(default=MOST_REGIONS, kw_only=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.top < 1:
            raise RegionError(f"selective search needs a top of at least 1, got {self.top}")
        check_count(self.spec, [self.top], self.most)
        if self.side < 32:
            raise RegionError(f"selective search needs a side of 32 pixels or more: {self.side}")
        _segmentation()

    @property
    def spec(self) -> str:
        """``selective:top:side``."""
        return f"selective:{self.top}:{self.side}"

    def propose(self, picture: Image.Image) -> Floats:
        """Return up to ``top`` relative boxes, those that most segments agree with first."""
        pixels = _shrunk(picture, self.side)
        height, width = pixels.shape[:2]
        if min(height, width) < 2:
            return np.zeros((0, 4), dtype=np.float32)
        search = _segmentation().createSelectiveSearchSegmentation()
        search.setBaseImage(pixels)
        search.switchToSelectiveSearchFast()
        found = np.unique(np.asarray(search.process(), dtype=np.float32).reshape(-1, 4), axis=0)
        found[:, 2:] += found[:, :2]
        found /= np.array([width, height] * 2, dtype=np.float32)
        return suppress(_agreed_first(_plausible(found)), OVERLAP)[: self.top]


def _shrunk(picture: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    """Return the picture as BGR pixels whose longer side is at most ``side``."""
    from PIL import Image

    scale = min(1.0, side / max(picture.size))
    width, height = (max(1, round(length * scale)) for length in picture.size)
    small = picture.resize((width, height), Image.Resampling.BOX)
    return np.ascontiguousarray(np.asarray(small)[:, :, ::-1])


def _plausible(boxes: Floats) -> Floats:
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    share = wide * high
    long = np.maximum(wide, high) <= ELONGATION * np.minimum(wide, high)
    return np.asarray(boxes[(share >= AREAS[0]) & (share <= AREAS[1]) & long])


def _agreed_first(boxes: Floats) -> Floats:
    votes = (iou(boxes[:, None], boxes[None]) >= AGREE).sum(axis=1)
    return np.asarray(boxes[np.lexsort([-area(boxes), -votes])])


def _segmentation() -> Any:
    try:
        import cv2

        return cv2.ximgproc.segmentation
    except (ImportError, AttributeError) as error:
        raise MissingExtraError(
            "selective search needs OpenCV with its contrib modules (cv2.ximgproc); install it "
            'with: pip install "patchrerank[opencv]"; where another OpenCV package lies over it: '
            "pip install --force-reinstall --no-deps opencv-contrib-python-headless"
        ) from error
