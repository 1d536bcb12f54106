"""A query's object before other backgrounds: views of it, as a network sees them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchrerank.encoders.query_object import QueryObject
from patchrerank.kernels.threads import run_parts
from patchrerank.types import Floats, QueryViews

Bytes = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]

SIZES = (0.5, 0.8)
"""How large an object is: the side, as a share of the encoder's pictures', of a square of its box's
area."""
REDUCED = 2.0
"""How many times as large as it is drawn at most an object is held, before it is turned."""
SOLID = 128
"""Alpha from which on a pixel is solid."""


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


def compose_views(
    found: QueryObject,
    backgrounds: Bytes,
    views: QueryViews,
    *,
    share: float = 1.0,
    threads: int = 1,
) -> ComposedViews:
    """Show an object before some of the backgrounds, turned and of several sizes.

    Angles and sizes are spread evenly over their ranges, each in an order of its own. What is drawn
    follows from the object's pixels and the seed alone, on however many threads.

    Args:
        found: the object.
        backgrounds: uint8 ``(B, H, W, 3)``, of the canvas's size; at least one.
        views: how many and how they are turned. 0 backgrounds: one view, upright, before the mean
            of all.
        share: side of the canvas as a share of the pictures that the encoder sees otherwise: the
            object is as large as there, unless the canvas is full.
        threads: that draw.
    """
    low, high = (min(size / share, 1.0) for size in SIZES)
    piece = _Piece.of(found.pixels, backgrounds.shape[1:3], high)
    if not views.backgrounds:
        mean = backgrounds.mean(axis=0, dtype=np.float64).round().astype(np.uint8)
        return _drawn(piece, [(mean, 0.0, (low + high) / 2)])
    rng = np.random.default_rng([views.seed, *_digest(found.pixels)])
    count = views.backgrounds
    chosen = np.resize(rng.permutation(len(backgrounds)), count)
    angles = views.rotate * _spread(count, rng)
    sizes = (low + high) / 2 + (high - low) / 2 * _spread(count, rng)
    plan = zip(backgrounds[chosen], angles.tolist(), sizes.tolist(), strict=True)
    return _drawn(piece, list(plan), threads)


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
    def of(cls, pixels: Bytes, canvas: tuple[int, ...], largest: float) -> _Piece:
        """Make one of RGBA pixels for a canvas, (height, width), and the largest size."""
        picture = Image.fromarray(pixels).convert("RGBa")
        scale = largest * float(np.prod(canvas) / (picture.width * picture.height)) ** 0.5
        picture = picture.reduce(max(1, int(1 / (REDUCED * scale))))
        solid = np.asarray(picture.getchannel("a")) >= SOLID
        solid = solid if solid.any() else np.ones_like(solid)  # too thin to be left
        rows = np.flatnonzero(solid.any(axis=1))
        first, last = solid[rows].argmax(axis=1), solid.shape[1] - solid[rows, ::-1].argmax(axis=1)
        x = np.concatenate([first, first, last, last]) - solid.shape[1] / 2
        y = np.concatenate([rows, rows + 1, rows, rows + 1]) - solid.shape[0] / 2
        return cls(picture, np.stack([x, y]))

    def placed(self, angle: float, size: float, room: tuple[int, int]) -> tuple[Bytes, Doubles]:
        """Return its pixels, and where those of a canvas, (width, height), lie among them.

        Its solid part is in the middle of the canvas and within it; see
        :func:`patchrerank.kernels.overlay.overlay`.
        """
        along, across = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        back = np.array([[along, -across], [across, along]])
        turned = back.T @ self.outline
        wide, high = np.ptp(turned, axis=1)
        scale = size * float(room[0] * room[1] / (wide * high)) ** 0.5
        scale = min(scale, room[0] / wide, room[1] / high)
        coarse = max(1, int(1 / scale))
        source = self.picture.reduce(coarse) if coarse > 1 else self.picture
        middle = (turned.min(axis=1) + turned.max(axis=1)) / 2 - np.array(room) / 2 / scale
        start = back @ middle + np.array(self.picture.size) / 2
        return np.asarray(source), np.column_stack([back / scale, start]) / coarse


def _drawn(
    piece: _Piece, plan: list[tuple[Bytes, float, float]], threads: int = 1
) -> ComposedViews:
    """Lay an object over backgrounds, each turned by an angle and of a size."""
    from patchrerank.kernels.overlay import overlay

    shape = (len(plan), *plan[0][0].shape)
    made = ComposedViews(np.empty(shape, np.uint8), np.empty(shape[:3], np.float32))

    def draw(number: int) -> None:
        ground, angle, size = plan[number]
        pixels, back = piece.placed(angle, size, (shape[2], shape[1]))
        overlay(pixels, back, ground, made.pictures[number], made.covers[number])

    run_parts(threads, draw, [(number,) for number in range(len(plan))])
    return made
