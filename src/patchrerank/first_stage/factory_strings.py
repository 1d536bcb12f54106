"""faiss index-factory strings, checked before faiss sees them.

faiss divides by some of the numbers in there and allocates by others before it looks at them: a
zero ends the process, a large one asks for all memory. So only known parts pass, each with its
numbers in range for the vectors at hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from patchrerank.errors import SettingError, near_matches

LONGEST = 100
MOST_LINKS = 512
"""Neighbours of a graph's node; published graphs have 16 to 64."""
MOST_BITS = 16
MOST_LISTS = 1 << 24
FEWEST_FOR_NSG = 1000
"""NSG starts from a graph of nearest neighbours, which a handful of vectors has not."""
KNOWN = "Flat, IVFn, IVFn_HNSWm, PQm, PQmxb, PQmx4fs, SQ4, SQ6, SQ8, SQfp16, SQbf16, RaBitQ, \
HNSWm, NSGm, RFlat; before these PCAd, PCAWd, PCARd, OPQm, OPQm_d, ITQ, RR, Padd, L2norm"


@dataclass
class _Vectors:
    """What the next part of a string will see; None where it is not known yet."""

    dim: int | None
    training: int | None


def check_factory(factory: str, dim: int | None = None, training: int | None = None) -> str:
    """Return a factory string after checking every number in it.

    Args:
        factory: such as ``Flat``, ``IVF4096,PQ64``, ``HNSW32``, ``OPQ16_64,IVF256,PQ16x4fs``.
        dim: dimensions of the vectors; None: not known yet.
        training: how many vectors it will be trained on; None: not known yet.

    Raises:
        SettingError: a part is unknown, or one of its numbers out of range; names the part.
    """
    if not factory or len(factory) > LONGEST:
        raise SettingError(
            f"index {factory[:LONGEST]!r}: a faiss factory string has 1 to {LONGEST} characters; "
            f"known are {KNOWN}"
        )
    seen = _Vectors(dim, training)
    for part in factory.split(","):
        for pattern, check in PARTS:
            found = re.fullmatch(pattern, part.strip())
            if found:
                check(f"index {factory!r}: {part.strip()}", [*map(_number, found.groups())], seen)
                break
        else:
            near = near_matches(part.strip(), KNOWN.replace(",", " ").split())
            raise SettingError(
                f"index {factory!r}: the part {part!r} is unknown{near}; use {KNOWN}"
            )
    return factory


Numbers = list[int | None]


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _within(where: str, what: str, value: int | None, low: int, high: int | None) -> None:
    if value is not None and (value < low or (high is not None and value > high)):
        limit = f"at least {low}" if high is None else f"in {low} … {high}"
        raise SettingError(f"{where}: {what} must be {limit}, got {value}")


def _divides(where: str, parts: int | None, dim: int | None) -> None:
    _within(where, "the number of parts", parts, 1, dim)
    if parts is not None and dim is not None and dim % parts:
        raise SettingError(f"{where}: {parts} parts do not divide {dim} dimensions")


def _plain(where: str, numbers: Numbers, seen: _Vectors) -> None:
    """Nothing to check."""


def _reduced(where: str, numbers: Numbers, seen: _Vectors) -> None:
    _within(where, "the number of dimensions", numbers[0], 1, seen.dim)
    seen.dim = numbers[0] or seen.dim


def _padded(where: str, numbers: Numbers, seen: _Vectors) -> None:
    _within(where, "the number of dimensions", numbers[0], seen.dim or 1, 4 * (seen.dim or 4096))
    seen.dim = numbers[0]


def _rotated(where: str, numbers: Numbers, seen: _Vectors) -> None:
    _reduced(where, numbers[1:], seen)
    _quantised(where, [numbers[0], None], seen)  # a product quantiser of 8 bits is trained with it


def _quantised(where: str, numbers: Numbers, seen: _Vectors) -> None:
    parts, bits = numbers
    _divides(where, parts, seen.dim)
    _within(where, "the number of bits", bits, 1, MOST_BITS)
    if seen.training is not None and seen.training < 1 << (bits or 8):
        raise SettingError(
            f"{where}: {1 << (bits or 8)} centroids need as many training vectors, there are "
            f"{seen.training}"
        )


def _quantised_fast(where: str, numbers: Numbers, seen: _Vectors) -> None:
    parts, bits, block = numbers
    if bits != 4 or (block is not None and (block % 32 or not 32 <= block <= 1024)):
        raise SettingError(f"{where}: fast scan takes 4 bits, and blocks of 32, 64, … 1024 codes")
    _quantised(where, [parts, bits], seen)


def _inverted(where: str, numbers: Numbers, seen: _Vectors) -> None:
    lists, links = numbers
    _within(where, "the number of lists", lists, 1, MOST_LISTS)
    _linked(where, [links], seen)
    if seen.training is not None and lists is not None and lists > seen.training:
        raise SettingError(
            f"{where}: {lists} lists need as many training vectors, there are {seen.training}"
        )


def _linked(where: str, numbers: Numbers, seen: _Vectors) -> None:
    _within(where, "the number of links", numbers[0], 2, MOST_LINKS)


def _spread(where: str, numbers: Numbers, seen: _Vectors) -> None:
    _linked(where, numbers, seen)
    if seen.training is not None and seen.training < FEWEST_FOR_NSG:
        raise SettingError(
            f"{where}: needs at least {FEWEST_FOR_NSG} vectors, there are {seen.training}"
        )


PARTS: list[tuple[str, Callable[[str, Numbers, _Vectors], None]]] = [
    (r"Flat|RFlat|L2norm|SQ4|SQ6|SQ8|SQfp16|SQbf16", _plain),
    (r"RaBitQ[1-9]?(?:fs)?", _plain),
    (r"PCA[WR]{0,2}([0-9]+)", _reduced),
    (r"(?:ITQ|RR)([0-9]+)?", _reduced),
    (r"Pad([0-9]+)", _padded),
    (r"OPQ([0-9]+)(?:_([0-9]+))?", _rotated),
    (r"PQ([0-9]+)(?:x([0-9]+))?(?:np)?", _quantised),
    (r"PQ([0-9]+)x([0-9]+)fsr?(?:_([0-9]+))?", _quantised_fast),
    (r"IVF([0-9]+)(?:_HNSW([0-9]+)?)?", _inverted),
    (r"HNSW([0-9]+)?", _linked),
    (r"NSG([0-9]+)?", _spread),
]
"""What a part may look like, and the check of the numbers in it."""
