"""Codes of fewer than 8 bits, one behind the other in the bytes of a row, lowest bits first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

MOST_BITS = 8
"""Of a code of a product quantiser."""
RABITQ_BITS = (1, 2, 3, 4)
"""Bits a dimension of rotated codes."""


def code_bytes(parts: int, bits: int) -> int:
    """Return the bytes that a row of packed codes takes."""
    return (parts * bits + 7) // 8


def unpacked(codes: Bytes, parts: int, bits: int) -> Bytes:
    """Return packed codes ``(n, bytes)`` as uint8 ``(n, parts)``."""
    if bits == 8:
        return codes
    single = np.unpackbits(codes, axis=1, count=parts * bits, bitorder="little")
    single = single.reshape(len(codes), parts, bits)
    return np.packbits(single, axis=2, bitorder="little")[:, :, 0]
