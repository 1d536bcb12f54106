"""Where the pieces come from: a folder of cut-outs, or blobs cut out of photographs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageOps

from patchrerank.datasets.composite.warp import SOLID
from patchrerank.errors import DatasetError, ImageError
from patchrerank.images import MAX_PIXELS, read_image

SMALLEST_SIDE = 16
"""A cut-out needs at least so many solid pixels in width and in height."""
PHOTO_SIDE = 1600
"""Photographs are scaled down to this longer side before pieces are cut out of them."""
PIECE_SIDE = (0.2, 0.45)
"""Side of a cut piece as a share of the photograph's shorter side."""
ATTEMPTS = 80
"""How often a place for a piece is drawn before the photograph is given up."""
MIN_DEVIATION = 14.0
"""Standard deviation of grey levels (of 255) inside a piece; less is too flat to recognise."""
MIN_EDGES = 0.15
"""Share of a piece's pixels whose grey level changes by more than 6 to a neighbour."""
SUPERSAMPLING = 4


def read_cutout(path: Path) -> Image.Image:
    """Return the cut-out in ``path`` as RGBA, cropped to its visible pixels.

    Raises:
        ImageError: the file cannot be read.
        DatasetError: it has no transparency, shows nothing, or is too small.
    """
    image = _read_rgba(path)
    alpha = np.asarray(image.getchannel("A"))
    if (alpha >= 250).all():
        raise DatasetError(
            f"{path}: has no transparent pixels, so it is a photograph and no cut-out; remove it, "
            "or pass the folder with --cut-from to have pieces cut out of photographs"
        )
    solid = alpha >= SOLID * 255
    rows, columns = int(solid.any(axis=1).sum()), int(solid.any(axis=0).sum())
    if min(rows, columns) < SMALLEST_SIDE:
        raise DatasetError(
            f"{path}: its visible part is {columns} × {rows} pixels; a cut-out needs at least "
            f"{SMALLEST_SIDE} × {SMALLEST_SIDE}; remove it or use a larger picture"
        )
    return image.crop(image.getchannel("A").getbbox())


def _read_rgba(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(f"{path}: declares {width} × {height} pixels, over {MAX_PIXELS}")
            return ImageOps.exif_transpose(image).convert("RGBA")
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: cannot be decoded as a cut-out ({error})") from error


def read_photo(path: Path, long_side: int) -> Image.Image:
    """Return a photograph as RGB, scaled down to ``long_side`` pixels where it is larger."""
    image = read_image(path, min_size=(long_side, long_side))
    image.thumbnail((long_side, long_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return image


def cut_pieces(photo: Image.Image, count: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """Yield up to ``count`` RGBA pieces of a photograph that do not overlap.

    Each is a smooth blob or a polygon around a place with texture; a flat photograph yields
    fewer, down to none.
    """
    grey = np.asarray(photo.convert("L"), dtype=np.float32)
    taken: list[tuple[int, int, int, int]] = []
    for _ in range(ATTEMPTS):
        if len(taken) == count:
            return
        box = _draw_box(photo.size, rng)
        mask = _draw_mask((box[2] - box[0], box[3] - box[1]), rng)
        if min(mask.size) < SMALLEST_SIDE or any(_overlap(box, other) for other in taken):
            continue
        if _is_textured(grey[box[1] : box[3], box[0] : box[2]], np.asarray(mask) >= SOLID * 255):
            taken.append(box)
            piece = photo.crop(box)
            piece.putalpha(mask)
            yield piece


def _draw_box(size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int]:
    width, height = (round(min(size) * side) for side in rng.uniform(*PIECE_SIDE, size=2))
    left = int(rng.integers(0, size[0] - width + 1))
    top = int(rng.integers(0, size[1] - height + 1))
    return left, top, left + width, top + height


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _draw_mask(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return an antialiased mask (mode L) of a random star-shaped blob or polygon."""
    if rng.random() < 0.6:
        angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
        waves = np.arange(2, 7)[:, None]
        phases = rng.uniform(0, 2 * np.pi, size=(5, 1))
        heights = rng.uniform(0, 0.3, size=(5, 1)) / waves**0.5
        radius = 1 + (heights * np.cos(waves * angles + phases)).sum(axis=0)
    else:
        corners = int(rng.integers(4, 9))
        angles = (np.arange(corners) + rng.uniform(-0.3, 0.3, size=corners)) * 2 * np.pi / corners
        radius = rng.uniform(0.7, 1.0, size=corners)
    points = np.column_stack([radius * np.cos(angles), radius * np.sin(angles)])
    low, high = points.min(axis=0), points.max(axis=0)
    large = (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING)
    scaled = (points - low) / (high - low) * (np.array(large) - 1)
    mask = Image.new("L", large, 0)
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in scaled], fill=255)
    return mask.resize(size, Image.Resampling.BOX)


def _is_textured(grey: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> bool:
    steps = np.abs(np.diff(grey, axis=0, append=grey[-1:]))
    steps = np.maximum(steps, np.abs(np.diff(grey, axis=1, append=grey[:, -1:])))
    edges = float((steps[inside] > 6).mean())
    return float(grey[inside].std()) >= MIN_DEVIATION and edges >= MIN_EDGES
