"""From an image and boxes to the uint8 crops that a network sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import check_boxes, to_pixels
from patchrerank.errors import EncoderError, near_matches, shown
from patchrerank.kernels.resize import resize

if TYPE_CHECKING:
    from PIL import Image

Crops = npt.NDArray[np.uint8]
Interpolation = Literal["area", "bilinear", "bicubic", "lanczos", "nearest"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LARGEST_SIDE = 16_384


@dataclass(frozen=True)
class Preprocessing:
    """How crops are cut, resized and normalised.

    Attributes:
        image_size: height and width of the network's input, in pixels. Every crop is squashed to
            it; the aspect ratio is not kept.
        mean: per channel, subtracted from RGB values in [0, 1].
        std: per channel, divides what is left; above 0.
        interpolation: ``area`` averages, with equal weights, the pixels whose centres an output
            pixel covers (Pillow's BOX) where both sides shrink or stay, and is bilinear otherwise;
            the others are Pillow's filters, which widen when shrinking (antialiasing; not
            ``nearest``).
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Interpolation = "area"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", check_image_size(self.image_size))
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three_numbers(name, getattr(self, name)))
        if min(self.std) <= 0:
            raise EncoderError(f"preprocessing: std must be above 0, got {self.std}")
        known = get_args(Interpolation)
        if self.interpolation not in known:
            raise EncoderError(
                f"preprocessing: interpolation {self.interpolation!r} is unknown; use one of "
                f"{', '.join(known)}{near_matches(str(self.interpolation), known)}"
            )

    def prepare(self, image: Image.Image, boxes: npt.ArrayLike) -> Crops:
        """Cut and resize the regions of one image.

        Each box is rounded to whole pixels, cut out at native resolution and then resized, so
        that pixels outside it have no influence. Safe to call from several worker threads, each
        with its own image.

        Args:
            image: a picture, upright (EXIF rotation already applied), of any mode.
            boxes: ``(P, 4)`` of ``x0, y0, x1, y1`` in [0, 1]; ``P`` may be 0.

        Returns:
            uint8 ``(P, height, width, 3)`` RGB, C-contiguous.

        Raises:
            RegionError: a box is empty, NaN or outside the image.
        """
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        checked = check_boxes(boxes, where="image regions")
        crops = np.empty((len(checked), *self.image_size, 3), dtype=np.uint8)
        pixels = np.asarray(rgb)
        for crop, box in zip(crops, checked, strict=True):
            left, top, right, bottom = to_pixels(box, *rgb.size)
            self._resize(pixels[top:bottom, left:right], crop)
        return crops

    def least_size(self, finest: float) -> tuple[int, int]:
        """Return the least ``(width, height)`` a picture must be decoded at.

        The smallest region (``finest``: its side as a share of the picture's) keeps at least
        twice the input size, so that only resampling differs from a full decode.
        """
        height, width = self.image_size
        return math.ceil(2 * width / finest), math.ceil(2 * height / finest)

    def as_dict(self) -> dict[str, object]:
        """Return the settings as JSON-able values (lists, numbers, strings)."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    def _resize(self, pixels: Crops, crop: Crops) -> None:
        if pixels.shape == crop.shape:
            crop[:] = pixels
        elif self.interpolation == "bilinear":
            resize(pixels, crop, "bilinear")
        elif self.interpolation == "area":
            shrinks = pixels.shape[0] >= crop.shape[0] and pixels.shape[1] >= crop.shape[1]
            resize(pixels, crop, "box" if shrinks else "bilinear")
        else:
            from PIL import Image

            filter_ = Image.Resampling[self.interpolation.upper()]
            height, width = self.image_size
            crop[:] = np.asarray(Image.fromarray(pixels).resize((width, height), filter_))


def check_image_size(size: object) -> tuple[int, int]:
    """Return ``size`` (one number, or height and width) as ``(height, width)`` in pixels.

    Raises:
        EncoderError: not one or two whole numbers from 1 to 16,384.
    """
    pair = (size, size) if isinstance(size, int) else size
    if isinstance(pair, Sequence) and len(pair) == 2:
        whole = [int(side) for side in pair if isinstance(side, int | np.integer)]
        if len(whole) == 2 and min(whole) > 0 and max(whole) <= LARGEST_SIDE:
            return whole[0], whole[1]
    raise EncoderError(
        f"image_size must be a whole number or (height, width), 1 to {LARGEST_SIDE} pixels, got "
        f"{shown(size)}"
    )


def _three_numbers(name: str, values: Sequence[float]) -> tuple[float, float, float]:
    numbers = [float(value) for value in values]
    if len(numbers) != 3 or not all(math.isfinite(number) for number in numbers):
        raise EncoderError(f"preprocessing: {name} needs three finite numbers, got {values!r}")
    return numbers[0], numbers[1], numbers[2]
