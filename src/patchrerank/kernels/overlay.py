"""A turned and sized cut-out laid over a picture, in one turn over its pixels."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from patchrerank.kernels.jit import compiled

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@compiled
def overlay(piece: Pixels, back: Doubles, ground: Pixels, out: Pixels, cover: Floats) -> None:
    """Draw a piece over a picture; of several threads each draws pictures of its own.

    The piece is looked up bilinearly at the middle of every pixel, as Pillow's ``transform`` does
    (``AFFINE``, ``BILINEAR``), but not rounded before it is mixed.

    Args:
        piece: uint8 ``(h, w, 4)``, premultiplied red, green, blue, and alpha.
        back: float64 ``(2, 3)``, from x and y of the picture to x and y of the piece, in pixels.
        ground: uint8 ``(H, W, 3)``, what lies beneath.
        out: uint8 ``(H, W, 3)``, is overwritten: the picture.
        cover: float32 ``(H, W)``, is overwritten: alpha in [0, 1].
    """
    high, wide = piece.shape[:2]
    one, white = np.float32(1.0), np.float32(1 / 255)
    for row in range(numba.uintp(out.shape[0])):
        for column in range(numba.uintp(out.shape[1])):
            x = back[0, 0] * (column + 0.5) + back[0, 1] * (row + 0.5) + back[0, 2]
            y = back[1, 0] * (column + 0.5) + back[1, 1] * (row + 0.5) + back[1, 2]
            if not (0.0 <= x < wide and 0.0 <= y < high):
                cover[row, column] = 0.0
                for channel in range(numba.uintp(3)):
                    out[row, column, channel] = ground[row, column, channel]
                continue
            x, y = max(x - 0.5, 0.0), max(y - 0.5, 0.0)
            left, top = numba.uintp(x), numba.uintp(y)
            right = min(left + numba.uintp(1), numba.uintp(wide - 1))
            bottom = min(top + numba.uintp(1), numba.uintp(high - 1))
            u, v = np.float32(x - left), np.float32(y - top)
            a, b = (one - u) * (one - v), u * (one - v)
            c, d = (one - u) * v, u * v
            solid = numba.uintp(3)
            upper = a * piece[top, left, solid] + b * piece[top, right, solid]
            lower = c * piece[bottom, left, solid] + d * piece[bottom, right, solid]
            alpha = min((upper + lower) * white, one)
            cover[row, column] = alpha
            for channel in range(numba.uintp(3)):
                upper = a * piece[top, left, channel] + b * piece[top, right, channel]
                lower = c * piece[bottom, left, channel] + d * piece[bottom, right, channel]
                mixed = upper + lower + (one - alpha) * ground[row, column, channel]
                out[row, column, channel] = np.uint8(min(mixed + np.float32(0.5), np.float32(255)))
