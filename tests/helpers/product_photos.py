"""Products on plain ground, as pictures of queries."""

from __future__ import annotations

import numpy as np
from PIL import Image


def scene(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    """A smooth random picture: coarse noise, enlarged."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def product(seed: int = 0, side: int = 64, ground: int = 240) -> Image.Image:
    """A patterned disc in the middle of a plain ground."""
    pixels = np.full((side, side, 3), ground, dtype=np.uint8)
    inside = disc(side)
    pixels[inside] = np.asarray(scene(seed + 100, side, side))[inside] // 2
    return Image.fromarray(pixels)


def disc(side: int = 64) -> np.ndarray:
    """bool ``(side, side)``: where the disc is."""
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    return x**2 + y**2 < (0.3 * side) ** 2


def cutout(seed: int = 0, side: int = 64) -> Image.Image:
    """The same disc on transparent ground, RGBA."""
    found = product(seed, side).convert("RGBA")
    found.putalpha(Image.fromarray(disc(side).astype(np.uint8) * 255))
    return found
