"""Synthetic photographs and cut-outs for the tests of this folder."""

import numpy as np
from PIL import Image


def photo(seed, width=320, height=240):
    """A picture with texture everywhere: waves of several lengths and noise."""
    rng = np.random.default_rng([seed, 1])
    y, x = np.mgrid[:height, :width].astype(float)
    values = np.zeros((height, width, 3))
    for _ in range(6):
        a, b = rng.uniform(-0.6, 0.6, 2)
        values += np.sin(a * x + b * y + rng.uniform(0, 6))[..., None] * rng.uniform(5, 30, 3)
    values += rng.uniform(60, 190, 3) + rng.normal(0, 8, values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def cutout(seed, side=120):
    """A flower with soft edges on transparent magenta."""
    rng = np.random.default_rng([seed, 2])
    y, x = (np.mgrid[:side, :side] / side) - 0.5
    angle = np.arctan2(y, x)
    reach = 0.33 + 0.1 * np.cos(int(rng.integers(2, 6)) * angle + rng.uniform(0, 6))
    alpha = ((reach - np.hypot(x, y * rng.uniform(1, 1.6))) * side + 0.5).clip(0, 1)
    waves = np.sin(rng.uniform(10, 50) * x + rng.uniform(10, 50) * y)[..., None]
    colours = rng.uniform(60, 200, 3) + waves * rng.uniform(20, 55, 3)
    colours[alpha == 0] = [255, 0, 255]
    pixels = np.dstack([colours, alpha * 255]).clip(0, 255).round().astype(np.uint8)
    return Image.fromarray(pixels)


def fill(folder, draw, count, suffix=".png", **kwargs):
    """Save ``count`` drawings into ``folder``, half of them in a subfolder."""
    (folder / "more").mkdir(parents=True)
    for number in range(count):
        place = folder if number % 2 else folder / "more"
        draw(number, **kwargs).save(place / f"{number:02d}{suffix}")
    return folder
