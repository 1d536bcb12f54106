"""Resizing 8-bit pictures as Pillow does, bit for bit, straight into an array."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Weights = npt.NDArray[np.int32]

BITS = 22
"""Weights are whole multiples of 2**-22, so that 8 bits of pixel fill 30 bits of sum."""

SUPPORT = {"box": 0.5, "bilinear": 1.0}


def resize(pixels: Pixels, out: Pixels, filter_: Literal["box", "bilinear"]) -> None:
    """Resize a picture into ``out``: exactly Pillow 13's ``resize`` with BOX or BILINEAR.

    Rows first, then columns (the other way round where the height loses over twice as many pixels
    as the width), with fixed-point weights and rounding to 8 bits in between; filters widen
    when shrinking. Earlier Pillows always began with the rows, which moves a value by 1 here
    and there. May run in several threads at a time.

    Args:
        pixels: uint8 ``(height, width, 3)``, not empty; each row contiguous, so a rectangle cut
            from a picture will do.
        out: uint8 ``(new height, new width, 3)``, not empty, C-contiguous; is overwritten.
        filter_: ``box`` averages the pixels whose centres an output pixel covers; ``bilinear``
            weights them by their distance.
    """
    from patchrerank.kernels._resize import across, down

    (height, width), (new_height, new_width) = pixels.shape[:2], out.shape[:2]
    columns, rows = weights(width, new_width, filter_), weights(height, new_height, filter_)
    lost, lost_in_width = height - new_height, width - new_width
    if lost > 0 and lost > 2 * lost_in_width:
        between = np.empty((new_height, width, 3), dtype=np.uint8)
        down(_lines(pixels), *rows, _lines(between))
        across(between, *columns, out)
    else:
        between = np.empty((height, new_width, 3), dtype=np.uint8)
        across(pixels, *columns, between)
        down(_lines(between), *rows, _lines(out))


def _lines(pixels: Pixels) -> Pixels:
    """Return ``(H, W · 3)``, a view since rows are contiguous."""
    return pixels.reshape(pixels.shape[0], -1)


@lru_cache(maxsize=512)
def weights(size: int, new_size: int, filter_: str) -> tuple[Weights, Weights]:
    """Return each output pixel's first input pixel ``(new_size,)`` and weights ``(new_size, k)``.

    Weights are int32 in units of 2**-22; unused ones are 0 and their pixels lie inside.
    """
    scale = size / new_size
    widened = max(scale, 1.0)
    support = SUPPORT[filter_] * widened
    found = [
        _weights_at((new + 0.5) * scale, size, support, widened, filter_) for new in range(new_size)
    ]
    taps = max(len(values) for _, values in found)
    first = np.array([min(start, size - taps) for start, _ in found], dtype=np.int32)
    table = np.zeros((new_size, taps), dtype=np.int32)
    for row, (start, values) in enumerate(found):
        shift = start - first[row]
        table[row, shift : shift + len(values)] = values
    return first, table


def _weights_at(
    centre: float, size: int, support: float, widened: float, filter_: str
) -> tuple[int, list[int]]:
    start = max(int(centre - support + 0.5), 0)
    stop = min(int(centre + support + 0.5), size)
    step = 1.0 / widened
    raw = [_response((at - centre + 0.5) * step, filter_) for at in range(start, stop)]
    total = 0.0
    for value in raw:  # in this order, to the last bit
        total += value
    return start, [int(0.5 + value / total * (1 << BITS)) for value in raw]


def _response(distance: float, filter_: str) -> float:
    if filter_ == "box":
        return 1.0 if -0.5 < distance <= 0.5 else 0.0
    return max(1.0 - abs(distance), 0.0)
