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
REDUCED = 2.0
"""How many times as large as it is drawn at most an object is held, before it is turned."""


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
    piece = _Piece.of(found.pixels, backgrounds.shape[1:3])
    if not views.backgrounds:
        mean = backgrounds.mean(axis=0, dtype=np.float64).round().astype(np.uint8)
        return _stacked([piece.before(mean, 0.0, sum(SIZES) / 2)])
    rng = np.random.default_rng([views.seed, *_digest(found.pixels)])
    count = views.backgrounds
    chosen = np.resize(rng.permutation(len(backgrounds)), count)
    angles = views.rotate * _spread(count, rng)
    middle, reach = sum(SIZES) / 2, (SIZES[1] - SIZES[0]) / 2
    sizes = middle + reach * _spread(count, rng)
    return _stacked(
        [
            piece.before(backgrounds[number], float(angle), float(size))
            for number, angle, size in zip(chosen, angles, sizes, strict=True)
        ]
    )


def _spread(count: int, rng: np.random.Generator) -> Doubles:
    """Return the middles of equal parts of [-1, 1], in random order."""
    return np.asarray(((2 * np.arange(count) + 1) / count - 1)[rng.permutation(count)])


def _digest(pixels: Bytes) -> list[int]:
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
    return [int.from_bytes(digest[at : at + 4], "little") for at in range(0, len(digest), 4)]


@dataclass(frozen=True, eq=False)
class _Piece:
    """An object, reduced to little more than it is drawn at.

    Attributes:
        picture: of mode RGBa.
        outline: float64 ``(2, n)``, x and y of corners that hold all solid pixels, middle at 0, in
            pixels of the picture.
    """

    picture: Image.Image
    outline: Doubles

    @classmethod
    def of(cls, pixels: Bytes, canvas: tuple[int, ...]) -> _Piece:
        """Make one of RGBA pixels for a canvas, (height, width)."""
        picture = Image.fromarray(pixels).convert("RGBa")
        largest = max(SIZES) * float(np.prod(canvas) / (picture.width * picture.height)) ** 0.5
        picture = picture.reduce(max(1, int(1 / (REDUCED * largest))))
        solid = np.asarray(picture.getchannel("a")) >= SOLID
        solid = solid if solid.any() else np.ones_like(solid)  # too thin to be left
        rows = np.flatnonzero(solid.any(axis=1))
        first, last = solid[rows].argmax(axis=1), solid.shape[1] - solid[rows, ::-1].argmax(axis=1)
        x = np.concatenate([first, first, last, last]) - solid.shape[1] / 2
        y = np.concatenate([rows, rows + 1, rows, rows + 1]) - solid.shape[0] / 2
        return cls(picture, np.stack([x, y]))

    def before(self, background: Bytes, angle: float, size: float) -> tuple[Bytes, Floats]:
        """Lay it over the middle of a background; returns the picture and its cover."""
        room_high, room_wide = background.shape[:2]
        layer = self._turned(angle, size, (room_wide, room_high))
        high, wide = layer.shape[:2]
        top, left = (room_high - high) // 2, (room_wide - wide) // 2
        canvas, cover = background.copy(), np.zeros((room_high, room_wide), dtype=np.float32)
        here = np.s_[top : top + high, left : left + wide]
        cover[here] = layer[..., 3] / 255
        mixed = canvas[here] * (1 - cover[here][..., None]) + layer[..., :3]
        canvas[here] = mixed.clip(0, 255).round()
        return canvas, cover

    def _turned(self, angle: float, size: float, room: tuple[int, int]) -> Floats:
        """Return it turned and sized, float32 ``(h, w, 4)``, premultiplied; it fits the room."""
        wide, high = self._extent(angle)
        scale = min(size * ((room[0] * room[1]) / (wide * high)) ** 0.5, room[0] / wide)
        scale = min(scale, room[1] / high)
        sides = (max(1, round(side * scale)) for side in self.picture.size)
        how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
        made = self.picture.resize((next(sides), next(sides)), how)
        if angle:
            made = made.rotate(angle, resample=Image.Resampling.BILINEAR, expand=True)
            made = made.crop(made.getchannel("a").point(_SOLID_ONLY).getbbox())
        return np.asarray(made, dtype=np.float32)[: room[1], : room[0]]

    def _extent(self, angle: float) -> tuple[float, float]:
        """Return width and height of what is solid when it is turned."""
        along, across = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turned = np.array([[along, across], [-across, along]]) @ self.outline
        wide, high = np.ptp(turned, axis=1)
        return float(wide), float(high)


SOLID = 128
"""Alpha from which on a pixel is solid."""
_SOLID_ONLY = [0] * SOLID + [255] * (256 - SOLID)


def _stacked(made: list[tuple[Bytes, Floats]]) -> ComposedViews:
    pictures, covers = zip(*made, strict=True)
    return ComposedViews(np.stack(pictures), np.stack(covers))
