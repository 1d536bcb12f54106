"""sRGB to CIELAB and back (D65, 2° observer), on float32 arrays.

Source: IEC 61966-2-1 (sRGB) and CIE 15 (L*a*b*).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from patchrerank.types import Floats

WHITE = np.array([0.95047, 1.0, 1.08883], dtype=np.float32)
TO_XYZ = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ],
    dtype=np.float64,
)
DELTA = 6 / 29


def lab_from_rgb(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Return float32 ``(…, 3)``: L in [0, 100], a and b, of sRGB uint8 ``(…, 3)``."""
    ratios = _linear()[pixels] @ (TO_XYZ.T / WHITE).astype(np.float32)
    roots = np.where(ratios > DELTA**3, np.cbrt(ratios), ratios / (3 * DELTA**2) + 4 / 29)
    x, y, z = np.moveaxis(roots, -1, 0)
    found = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
    return np.asarray(found, dtype=np.float32)


def rgb_from_lab(lab: Floats) -> npt.NDArray[np.uint8]:
    """Return sRGB uint8 ``(…, 3)`` of CIELAB ``(…, 3)``; colours out of gamut are clipped."""
    y = (lab[..., 0] + 16) / 116
    roots = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    ratios = np.where(roots > DELTA, roots**3, 3 * DELTA**2 * (roots - 4 / 29))
    linear = (ratios * WHITE).astype(np.float32) @ np.linalg.inv(TO_XYZ).T.astype(np.float32)
    linear = linear.clip(0.0, 1.0)
    encoded = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return np.asarray((255 * encoded).round().clip(0, 255), dtype=np.uint8)


def lightness(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Return L in [0, 100], float32 ``(…,)``, of sRGB uint8 ``(…, 3)``."""
    light = _linear()[pixels] @ TO_XYZ[1].astype(np.float32)
    roots = np.where(light > DELTA**3, np.cbrt(light), light / (3 * DELTA**2) + 4 / 29)
    return np.asarray(116 * roots - 16, dtype=np.float32)


@cache
def _linear() -> Floats:
    """Return float32 ``(256,)``: linear light of each 8-bit value."""
    values = np.arange(256, dtype=np.float64) / 255
    light = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    return light.astype(np.float32)
