"""One picture: a background, perhaps an object, and clutter beside, below and above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchrerank.datasets.composite.config import CompositeConfig, Range
from patchrerank.datasets.composite.warp import (
    SOLID,
    Floats,
    Layer,
    Points,
    homography,
    outline,
    paste,
    project,
    relight,
    tight_box,
    visible_alpha,
    warp,
)

RATIOS = (4 / 3, 3 / 2, 1.0, 3 / 4, 2 / 3)
"""Width by height of the database pictures."""
ATTEMPTS = 40
"""How often an object is placed anew until its size and visibility fit the settings."""
LARGEST_SIDE = 0.97
"""An object's box fills at most this share of the picture's width and of its height."""
QUERY_FILL = 0.8
"""Share of a query picture's side that the object's longer side fills."""
CLUTTER_AREA: Range = (0.02, 0.25)
CLUTTER_OVERHANG = 0.3
"""Share of a clutter piece's side that may lie outside the picture."""


@dataclass(frozen=True)
class Scene:
    """A finished picture.

    Attributes:
        picture: uint8 ``(H, W, 3)``.
        mask: float32 ``(H, W)`` in [0, 1], how much of the object shows in each pixel; all 0
            without an object.
        box: ``(x0, y0, x1, y1)`` in pixels, tight around ``mask >= 0.5``; None without an object.
        visible: share of the object's pixels that nothing hides, in [0, 1]; pixels beyond the
            border count as hidden.
    """

    picture: npt.NDArray[np.uint8]
    mask: Floats
    box: tuple[int, int, int, int] | None
    visible: float

    @property
    def area(self) -> float:
        """Share of the picture that the box covers, in [0, 1]."""
        if self.box is None:
            return 0.0
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0) / float(self.mask.size)


def query_scene(piece: Image.Image, config: CompositeConfig, rng: np.random.Generator) -> Scene:
    """Return the object as it is, centred on a plain light background."""
    side = config.query_side
    colour = rng.uniform(0.78, 0.97) + rng.uniform(-0.02, 0.02, size=3)
    canvas = np.broadcast_to(colour.astype(np.float32), (side, side, 3)).copy()
    points = outline(piece)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = QUERY_FILL * side / float((high - low).max())
    left, top = (side - scale * (low + high)) / 2
    layer = warp(piece, np.array([[scale, 0, left], [0, scale, top], [0, 0, 1]]))
    return _finish(canvas, [], layer, [])


def positive_scene(
    photo: Image.Image,
    piece: Image.Image,
    clutter: Sequence[Image.Image],
    config: CompositeConfig,
    rng: np.random.Generator,
) -> Scene | None:
    """Return the object in a photograph; None where it cannot keep to ``area`` and ``occlusion``.

    It is placed anew until both hold; in the second half of the attempts all clutter lies below
    the object.
    """
    canvas = _background(photo, config, rng)
    height, width = canvas.shape[:2]
    overhang = config.occlusion / 2
    for attempt in range(ATTEMPTS):
        layer = _place(piece, (width, height), config.area, overhang, config, rng)
        box = tight_box(visible_alpha(layer, [], height, width))
        below, above = _strew(clutter, (width, height), box, config, rng)
        if attempt >= ATTEMPTS // 2:
            below, above = [*below, *above], []
        scene = _finish(canvas, below, layer, above)
        low, high = config.area
        if low <= scene.area <= high and scene.visible >= 1 - config.occlusion:
            return scene
    return None


def distractor_scene(
    photo: Image.Image,
    clutter: Sequence[Image.Image],
    config: CompositeConfig,
    rng: np.random.Generator,
) -> Scene:
    """Return a photograph with clutter alone."""
    canvas = _background(photo, config, rng)
    height, width = canvas.shape[:2]
    below, above = _strew(clutter, (width, height), None, config, rng)
    return _finish(canvas, below, None, above)


def _finish(
    canvas: Floats, below: Sequence[Layer], target: Layer | None, above: Sequence[Layer]
) -> Scene:
    """Paste the layers from the lowest up and measure what shows of ``target``."""
    painted = canvas.copy()
    for layer in (*below, *([] if target is None else [target]), *above):
        paste(painted, layer)
    picture = (painted * 255).round().clip(0, 255).astype(np.uint8)
    height, width = painted.shape[:2]
    if target is None:
        return Scene(picture, np.zeros((height, width), dtype=np.float32), None, 0.0)
    mask = visible_alpha(target, above, height, width)
    whole = int((target.alpha >= SOLID).sum())
    visible = int((mask >= SOLID).sum()) / whole if whole else 0.0
    return Scene(picture, mask, tight_box(mask), visible)


def _background(photo: Image.Image, config: CompositeConfig, rng: np.random.Generator) -> Floats:
    """Return a random part of a photograph, float32 ``(H, W, 3)`` in [0, 1]; it may be mirrored."""
    ratio = RATIOS[int(rng.integers(len(RATIOS)))]
    width = round(config.long_side * min(1.0, ratio))
    height = round(config.long_side * min(1.0, 1 / ratio))
    zoom = rng.uniform(0.6, 1.0) * min(photo.width / width, photo.height / height)
    size = np.array([width, height]) * zoom
    low = rng.uniform(0, 1, size=2) * (np.array(photo.size) - size)
    box = (*low.clip(0).tolist(), *np.minimum(low + size, photo.size).tolist())
    image = photo.resize((width, height), Image.Resampling.BICUBIC, box=box)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = relight(image, config.lighting / 2, rng)
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def _place(
    piece: Image.Image,
    size: tuple[int, int],
    area: Range,
    overhang: float,
    config: CompositeConfig,
    rng: np.random.Generator,
    centre: Points | None = None,
) -> Layer:
    """Return a piece in a random pose whose box covers a share of the canvas drawn from ``area``.

    ``centre`` (pixels) fixes where the box lies; otherwise it is drawn such that at most
    ``overhang`` of its width and height lies outside.
    """
    points = outline(piece)
    corners = _draw_view(piece.size, config, rng)
    matrix = homography(_corners(piece.size), corners)
    seen = project(matrix, points)
    low, high = seen.min(axis=0), seen.max(axis=0)
    extent, canvas = high - low, np.array(size, dtype=np.float64)
    share = np.exp(rng.uniform(*np.log(area)))
    scale = min(
        np.sqrt(share * canvas.prod() / extent.prod()), (LARGEST_SIDE * canvas / extent).min()
    )
    extent = extent * scale
    drawn = rng.uniform(-overhang * extent, canvas - extent + overhang * extent)
    corner = drawn if centre is None else centre - extent / 2
    return warp(
        relight(piece, config.lighting, rng),
        homography(_corners(piece.size), (corners - low) * scale + corner),
    )


def _corners(size: tuple[int, int]) -> Points:
    width, height = size
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)


def _draw_view(size: tuple[int, int], config: CompositeConfig, rng: np.random.Generator) -> Points:
    """Return where a view shifted in perspective and turned in the plane takes the corners."""
    shift = config.perspective * rng.uniform(-1, 1, size=(4, 2)) * np.array(size)
    angle = np.deg2rad(config.rotation) * rng.uniform(-1, 1)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray((_corners(size) + shift) @ turn)


def _strew(
    clutter: Sequence[Image.Image],
    size: tuple[int, int],
    box: tuple[int, int, int, int] | None,
    config: CompositeConfig,
    rng: np.random.Generator,
) -> tuple[list[Layer], list[Layer]]:
    """Return the clutter's layers below and above the object.

    With an object and ``occlusion`` above 0, the first piece is laid over the border of the
    object's ``box`` half of the time; the others go anywhere, below or above it alike.
    """
    below: list[Layer] = []
    above: list[Layer] = []
    for number, piece in enumerate(clutter):
        centre, over = None, rng.random() < 0.5 and config.occlusion > 0
        if number == 0 and box is not None and over:
            centre = _border_point(box, rng)
        layer = _place(piece, size, CLUTTER_AREA, CLUTTER_OVERHANG, config, rng, centre)
        (above if over else below).append(layer)
    return below, above


def _border_point(box: tuple[int, int, int, int], rng: np.random.Generator) -> Points:
    """Return a random point on the border of a box."""
    along, end = rng.random(), float(rng.integers(2))
    share = np.array([along, end] if rng.random() < 0.5 else [end, along])
    low, high = np.array(box[:2]), np.array(box[2:])
    return np.asarray(low + share * (high - low), dtype=np.float64)
