"""Rotated codes: the same fixed rotation for all vectors, then 1 to 4 bits a dimension.

The rotation is four rounds of signs, a Hadamard transform of the first or last 2^k dimensions and
a turn by 45° of the two halves: orthogonal for any number of dimensions, the same for every
gallery, since its signs come from a fixed sequence (splitmix64 from 0).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.kernels.packed_codes import RABITQ_BITS, Bytes, unpacked
from patchrerank.types import Floats

ROUNDS = 4
PLANES = {1: (1,), 2: (2,), 3: (2, 1), 4: (4,)}
"""Bits of a code as they lie, the high ones first: each plane holds so many of every dimension."""


@cache
def rotation_signs(dim: int) -> npt.NDArray[np.float32]:
    """Return the signs of the rotation, ±1, float32 ``(4, dim)``."""
    turns = np.arange(1, ROUNDS * dim + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        mixed = turns * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    bits = (mixed ^ (mixed >> np.uint64(31))) & np.uint64(1)
    return np.where(bits == 0, 1, -1).astype(np.float32).reshape(ROUNDS, dim)


def rotate(vectors: npt.ArrayLike, *, back: bool = False) -> Floats:
    """Return vectors ``(n, d)`` rotated, or rotated back, float32."""
    from patchrerank.kernels._rotation import turn

    out = np.array(vectors, dtype=np.float32, order="C")
    turn(out, rotation_signs(out.shape[1]), back)
    return out


def quantise_rabitq(vectors: npt.ArrayLike, bits: int) -> tuple[Bytes, Floats]:
    """Return codes and scales of vectors ``(n, d)``; see :class:`RabitqStore`.

    The step of each row is the one, of ``STEPS`` tried, whose levels have the largest cosine with
    the rotated vector. A row of zeros gets the scale 0.

    Raises:
        SettingError: not two-dimensional, NaN or infinite values, or bits other than 1 to 4.
    """
    from patchrerank.kernels._rotation import find_codes

    table = np.asarray(vectors, dtype=np.float32)
    if bits not in RABITQ_BITS or table.ndim != 2:
        raise SettingError(f"rotated codes have 1 to 4 bits of (n, d), got {bits} of {table.shape}")
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if bad.size:
        raise SettingError(f"vector {bad[0]} holds NaN or infinite values; encode it again")
    turned = rotate(table)
    wide = -(-table.shape[1] // 8) * 8
    codes, scales = np.zeros((len(table), wide), np.uint8), np.zeros(len(table), np.float32)
    find_codes(turned, bits, codes, scales)
    planes, left = [], bits
    for width in PLANES[bits]:
        left -= width
        part = (codes >> left) & ((1 << width) - 1)
        planes.append(_packed(part.astype(np.uint8), width))
    return np.concatenate(planes, axis=1), scales


def levels_of(codes: Bytes, dim: int, bits: int) -> Floats:
    """Return the levels of codes, float32 ``(n, d)``: -(2^b - 1) / 2 … (2^b - 1) / 2."""
    plane = -(-dim // 8)
    values, start, left = np.zeros((len(codes), dim), np.float32), 0, bits
    for width in PLANES[bits]:
        left -= width
        part = np.ascontiguousarray(codes[:, start : start + plane * width])
        values += unpacked(part, 8 * plane, width)[:, :dim].astype(np.float32) * (1 << left)
        start += plane * width
    return np.asarray(values - np.float32(((1 << bits) - 1) / 2))


def _packed(codes: Bytes, width: int) -> Bytes:
    single = np.unpackbits(codes[:, :, None], axis=2, count=width, bitorder="little")
    return np.packbits(
        single.reshape(len(codes), codes.shape[1] * width), axis=1, bitorder="little"
    )
