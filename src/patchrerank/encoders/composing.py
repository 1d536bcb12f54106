"""A query's object before other backgrounds: views of it, as a network sees them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchrerank.encoders.query_object import QueryObject
from patchrerank.types import Floats, QueryViews

Bytes = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]

SIZES = (0.5, 0.8)
"""How large an object is: the side, as a share of the canvas's, of a square of its box's area."""


@dataclass(frozen=True, eq=False)
class ComposedViews:
    """One object before n backgrounds.

    Attributes:
        pictures: uint8 ``(n, H, W, 3)``.
        covers: float32 ``(n, H, W)`` in [0, 1]: how much of each pixel the object covers.
    """

    pictures: Bytes
    covers: Floats

    def __len__(self) -> int:
        return len(self.pictures)


def compose_views(found: QueryObject, backgrounds: Bytes, views: QueryViews) -> ComposedViews:
    """Show an object before some of the backgrounds, turned and of several sizes.

    Angles and sizes are spread evenly over their ranges, each in an order of its own. What is drawn
    follows from the object's pixels and the seed alone.

    Args:
        found: the object.
        backgrounds: uint8 ``(B, H, W, 3)``, of the canvas's size; at least one.
        views: how many and how they are turned. 0 backgrounds: one view, upright, before the mean
            of all.
    """
    if not views.backgrounds:
        mean = backgrounds.mean(axis=0, dtype=np.float64).round().astype(np.uint8)
        return _stacked([_composed(found.pixels, mean, 0.0, sum(SIZES) / 2)])
    rng = np.random.default_rng([views.seed, *_digest(found.pixels)])
    count = views.backgrounds
    chosen = np.resize(rng.permutation(len(backgrounds)), count)
    angles = views.rotate * _spread(count, rng)
    middle, reach = sum(SIZES) / 2, (SIZES[1] - SIZES[0]) / 2
    sizes = middle + reach * _spread(count, rng)
    return _stacked(
        [
            _composed(found.pixels, backgrounds[number], float(angle), float(size))
            for number, angle, size in zip(chosen, angles, sizes, strict=True)
        ]
    )


def _spread(count: int, rng: np.random.Generator) -> Doubles:
    """Return the middles of equal parts of [-1, 1], in random order."""
    return np.asarray(((2 * np.arange(count) + 1) / count - 1)[rng.permutation(count)])


def _digest(pixels: Bytes) -> list[int]:
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
    return [int.from_bytes(digest[at : at + 4], "little") for at in range(0, len(digest), 4)]


def _composed(piece: Bytes, background: Bytes, angle: float, size: float) -> tuple[Bytes, Floats]:
    """Lay a piece (RGBA) over the middle of a background; returns the picture and its cover."""
    height, width = background.shape[:2]
    turned = Image.fromarray(piece).convert("RGBa")
    if angle:
        turned = turned.rotate(angle, resample=Image.Resampling.BICUBIC, expand=True)
        turned = turned.crop(turned.getchannel("a").point(_SOLID).getbbox())
    scale = size * ((width * height) / (turned.width * turned.height)) ** 0.5
    scale = min(scale, width / turned.width, height / turned.height)
    wide, high = (max(1, round(side * scale)) for side in turned.size)
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    layer = np.asarray(turned.resize((wide, high), how), dtype=np.float32)
    top, left = (height - high) // 2, (width - wide) // 2
    canvas, cover = background.astype(np.float32), np.zeros((height, width), dtype=np.float32)
    here = np.s_[top : top + high, left : left + wide]
    cover[here] = layer[..., 3] / np.float32(255)
    canvas[here] = canvas[here] * (1 - cover[here][..., None]) + layer[..., :3]
    return canvas.clip(0, 255).round().astype(np.uint8), cover


_SOLID = [0] * 128 + [255] * 128


def _stacked(made: list[tuple[Bytes, Floats]]) -> ComposedViews:
    pictures, covers = zip(*made, strict=True)
    return ComposedViews(np.stack(pictures), np.stack(covers))
