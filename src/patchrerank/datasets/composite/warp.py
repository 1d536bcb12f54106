"""Pieces under a change of view and light: plane geometry, resampling and compositing.

Pixel coordinates are continuous: pixel (x, y) covers ``[x, x+1) × [y, y+1)``. Colours of a layer
are premultiplied with their alpha, so nothing of what lies under transparent pixels shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Points = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

SOLID = 0.5
"""From this alpha on a pixel belongs to the object."""


@dataclass(frozen=True)
class Layer:
    """A piece as it lies over a canvas.

    Attributes:
        pixels: float32 ``(h, w, 4)``, premultiplied red, green, blue and alpha in [0, 1].
        left: column of the canvas where the layer begins; may be negative.
        top: row of the canvas where the layer begins; may be negative.
    """

    pixels: Floats
    left: int
    top: int

    @property
    def alpha(self) -> Floats:
        """float32 ``(h, w)``, including what lies outside the canvas."""
        return self.pixels[..., 3]

    def windows(self, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return the (rows, columns) shared with the canvas: of the canvas, and of the layer."""
        rows, columns = self.pixels.shape[:2]
        top, bottom = np.clip([self.top, self.top + rows], 0, height).tolist()
        left, right = np.clip([self.left, self.left + columns], 0, width).tolist()
        own_rows = slice(top - self.top, bottom - self.top)
        own_columns = slice(left - self.left, right - self.left)
        return (slice(top, bottom), slice(left, right)), (own_rows, own_columns)


def homography(source: Points, target: Points) -> Matrix:
    """Return the ``(3, 3)`` matrix that takes four points ``(4, 2)`` to four others."""
    rows = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    values = np.linalg.solve(np.array(rows), np.asarray(target, dtype=np.float64).reshape(-1))
    return np.append(values, 1.0).reshape(3, 3)


def project(matrix: Matrix, points: Points) -> Points:
    """Return ``points`` ``(N, 2)`` under a homography."""
    lifted = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(lifted[:, :2] / lifted[:, 2:])


def outline(image: Image.Image) -> Points:
    """Return points ``(N, 2)`` whose hull is the hull of an RGBA picture's solid pixels."""
    solid = np.asarray(image.getchannel("A")) >= SOLID * 255
    rows = np.flatnonzero(solid.any(axis=1))
    first = solid[rows].argmax(axis=1)
    last = solid.shape[1] - solid[rows, ::-1].argmax(axis=1)
    corners = [(first, rows), (last, rows), (first, rows + 1), (last, rows + 1)]
    return np.concatenate([np.column_stack(pair) for pair in corners]).astype(np.float64)


def warp(image: Image.Image, matrix: Matrix) -> Layer:
    """Return an RGBA picture under a homography from its pixels to those of a canvas.

    Where the picture shrinks it is first scaled down with an antialiasing filter; the rest is
    one bicubic resampling. Both work on premultiplied colours.
    """
    width, height = image.size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    projected = project(matrix, corners)
    left, top = np.floor(projected.min(axis=0)).astype(int) - 1
    right, bottom = np.ceil(projected.max(axis=0)).astype(int) + 1
    image, shrink = _shrink(image.convert("RGBa"), corners, projected)
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], dtype=np.float64)
    back = shrink @ np.linalg.inv(matrix) @ shift
    back = (back / back[2, 2]).reshape(-1)[:8]
    size = (int(right - left), int(bottom - top))
    mode = Image.Transform.PERSPECTIVE
    warped = image.transform(size, mode, back.tolist(), Image.Resampling.BICUBIC)
    pixels = np.asarray(warped, dtype=np.float32) / np.float32(255)
    pixels[..., :3] = np.minimum(pixels[..., :3], pixels[..., 3:])
    return Layer(pixels, int(left), int(top))


def _shrink(image: Image.Image, corners: Points, projected: Points) -> tuple[Image.Image, Matrix]:
    """Scale a picture down to about its projected size, and return the scaling matrix."""
    before = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    after = np.linalg.norm(projected - np.roll(projected, 1, axis=0), axis=1)
    ratios = np.minimum(1.0, after / before)
    width = max(1, round(image.width * max(ratios[1], ratios[3])))
    height = max(1, round(image.height * max(ratios[0], ratios[2])))
    matrix = np.diag([width / image.width, height / image.height, 1.0])
    if (width, height) == image.size:
        return image, matrix
    return image.resize((width, height), Image.Resampling.BICUBIC), matrix


def relight(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Return an RGB or RGBA picture under another light.

    Gain is drawn from 1 ± strength, gamma from exp(± strength), and each channel's cast from
    1 ± 0.4·strength. Alpha stays. Strength 0 returns the picture as it is.
    """
    gain = 1 + strength * rng.uniform(-1, 1)
    gamma = np.exp(strength * rng.uniform(-1, 1))
    cast = 1 + 0.4 * strength * rng.uniform(-1, 1, size=3)
    if strength == 0:
        return image
    level = np.arange(256) / 255
    tables = [(gain * share * level**gamma * 255).round().clip(0, 255) for share in cast]
    if image.mode == "RGBA":
        tables.append(np.arange(256.0))
    return image.point(np.concatenate(tables).astype(int).tolist())


def paste(canvas: Floats, layer: Layer) -> None:
    """Lay a layer over a canvas ``(H, W, 3)``, float32 in [0, 1], in place."""
    there, here = layer.windows(*canvas.shape[:2])
    patch = layer.pixels[here]
    canvas[there] = canvas[there] * (1 - patch[..., 3:]) + patch[..., :3]


def visible_alpha(layer: Layer, above: Sequence[Layer], height: int, width: int) -> Floats:
    """Return ``(height, width)``: how much of ``layer`` shows through the layers above it."""
    alpha = np.zeros((height, width), dtype=np.float32)
    there, here = layer.windows(height, width)
    alpha[there] = layer.alpha[here]
    for other in above:
        there, here = other.windows(height, width)
        alpha[there] *= 1 - other.alpha[here]
    return alpha


def tight_box(alpha: Floats) -> tuple[int, int, int, int] | None:
    """Return ``(x0, y0, x1, y1)`` in pixels around alpha >= 0.5, or None where there is none."""
    solid = alpha >= SOLID
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
