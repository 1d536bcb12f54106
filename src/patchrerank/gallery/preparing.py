"""What is done to an image before the network: decode it, find its regions, cut them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.boxes import WHOLE_IMAGE, Floats, check_boxes
from patchrerank.errors import ImageError, RegionError
from patchrerank.gallery.places import Packed
from patchrerank.gallery.stamps import UNKNOWN, Stamp, taken
from patchrerank.images import (
    MAX_PIXELS,
    ImageSource,
    read_image,
    stored_orientation,
    upright_size,
)
from patchrerank.regions import UPRIGHT, FixedBoxes, Regions, boxes_in

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder
    from patchrerank.gallery.build_options import BuildOptions

Unusable = ImageError | RegionError
"""Why an image is skipped."""


@dataclass(frozen=True)
class PreparedImage:
    """One decoded image whose cuts wait for the network.

    Attributes:
        image_id: its gallery id.
        size: width and height of the upright image, in pixels.
        boxes: float32 ``(P, 4)``, its regions.
        count: number of cuts: P, and one more where no region is the whole image.
        cuts: what ``encoder.encode_regions`` takes: the whole image, then the other regions.
        stamp: of its file.
    """

    image_id: Any
    size: tuple[int, int]
    boxes: Floats
    count: int
    cuts: Any
    stamp: Stamp = UNKNOWN

    @property
    def regions(self) -> Floats:
        """float32 ``(count, 4)``: the region of each cut."""
        whole = [WHOLE_IMAGE[None]] * (self.count - len(self.boxes))
        return np.concatenate([*whole, self.boxes])


class KnownImage(PreparedImage):
    """An image whose cuts are its plain vectors, float32 ``(count, d)``: nothing is encoded."""


def prepare_image(
    encoder: Encoder,
    regions: Regions,
    image_id: Any,
    image: ImageSource,
    max_pixels: int | None = MAX_PIXELS,
) -> PreparedImage:
    """Decode one image and cut what the encoder takes; for worker threads.

    Raises:
        ImageError: it cannot be read.
        RegionError: the strategy has no boxes for it, or malformed ones.
    """
    (stamp, image), finest = taken(image), regions.finest
    min_size = None if finest is None else encoder.least_size(finest)
    size = upright_size(image, max_pixels=max_pixels)
    picture = read_image(image, max_pixels=max_pixels, min_size=min_size)
    given = isinstance(regions, FixedBoxes)
    orientation = stored_orientation(image, max_pixels=max_pixels) if given else UPRIGHT
    found = boxes_in(regions, str(image_id), picture, size, orientation)
    boxes = check_boxes(found, f"regions of {image_id!r}")
    whole = len(boxes) > 0 and bool((boxes[0] == WHOLE_IMAGE).all())
    cuts = boxes if whole else np.concatenate([WHOLE_IMAGE[None], boxes])
    prepared = encoder.prepare_regions(picture, cuts)
    return PreparedImage(image_id, size, boxes, len(cuts), prepared, stamp)


Prepare = Callable[[Any, ImageSource | Packed], PreparedImage | Unusable]


class Preparer:
    """Prepares one image, or returns why it cannot be; called by worker threads."""

    def __init__(self, encoder: Encoder, regions: Regions, options: BuildOptions) -> None:
        self._encoder = encoder
        self._regions = regions
        self.options = options
        self.skip = options.on_error == "skip"

    def __call__(self, image_id: Any, image: ImageSource | Packed) -> PreparedImage | Unusable:
        """Prepare one image; why it cannot be is returned only where it is to be skipped."""
        try:
            held = image.read() if isinstance(image, Packed) else image
            most = self.options.max_pixels
            return prepare_image(self._encoder, self._regions, image_id, held, most)
        except (ImageError, RegionError) as error:
            if self.skip:
                return error
            raise
