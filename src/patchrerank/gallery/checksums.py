"""The CRC-32 of bytes one behind the other, from the CRC-32 of each: nothing is read again."""

from __future__ import annotations

from functools import cache

POLYNOMIAL = 0xEDB88320
"""Of CRC-32, the lowest power in the highest bit, as in zlib."""
ONE = 1 << 31


def joined_crc(first: int, second: int, size: int) -> int:
    """Return the CRC-32 of bytes whose beginning has the first and whose rest has the second.

    The first is multiplied by x to the 8 × size modulo CRC-32's polynomial, as zlib's
    ``crc32_combine`` does.

    Args:
        first: CRC-32 of the beginning.
        second: CRC-32 of the rest.
        size: bytes of the rest.
    """
    return _product(_power(size), first) ^ second


@cache
def _power(size: int) -> int:
    """Return x to the 8 × size."""
    found, bit = ONE, 3
    while size:
        if size & 1:
            found = _product(_square(bit), found)
        size, bit = size >> 1, bit + 1
    return found


@cache
def _square(bit: int) -> int:
    """Return x to the 2 to the ``bit``."""
    return _product(_square(bit - 1), _square(bit - 1)) if bit else ONE >> 1


def _product(first: int, second: int) -> int:
    found = 0
    while first:
        if first & ONE:
            found ^= second
        first = (first << 1) & 0xFFFFFFFF
        second = (second >> 1) ^ (POLYNOMIAL if second & 1 else 0)
    return found
