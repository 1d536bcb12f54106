"""The image sizes at which a dense encoder sees a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

from patchrerank.errors import EncoderError


def check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """Return the scales as floats.

    Raises:
        EncoderError: there are none, or one is not a finite number above 0.
    """
    checked = tuple(float(scale) for scale in scales)
    if not checked or any(not (math.isfinite(scale) and scale > 0) for scale in checked):
        raise EncoderError(f"scales needs one or more numbers above 0, got {scales!r}")
    return checked


def scaled_size(size: tuple[int, int], scale: float, stride: tuple[int, int]) -> tuple[int, int]:
    """Return ``size`` times ``scale``, each side at the nearest multiple of its stride (≥ one)."""
    height, width = (
        max(1, math.floor(side * scale / step + 0.5)) * step
        for side, step in zip(size, stride, strict=True)
    )
    return height, width
