"""Vectors in LLVM's own terms, in few words."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

BYTE, INT16, INT32, INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def wide(scalar: Any, count: int) -> Any:
    """Return the type of vectors."""
    return ir.VectorType(scalar, count)


def all_of(kind: Any, value: int) -> Any:
    """Return a vector of one value."""
    return ir.Constant(kind, [kind.element(value)] * kind.count)


def shuffled(builder: Any, one: Any, other: Any, places: list[int]) -> Any:
    """Return what stands at the places of two vectors, counted through."""
    mask = ir.Constant(wide(INT32, len(places)), [INT32(place) for place in places])
    return builder.shuffle_vector(one, other, mask)


def at(builder: Any, kind: Any, address: Any, offset: Any = 0) -> Any:
    """Return a pointer to what lies some bytes behind an address."""
    away = INT64(offset) if isinstance(offset, int) else offset
    return builder.inttoptr(builder.add(address, away), kind.as_pointer())


def load(builder: Any, kind: Any, address: Any, offset: Any = 0) -> Any:
    """Load what lies there, at any alignment."""
    return builder.load(at(builder, kind, address, offset), align=1)


def ask_for(builder: Any, address: Any, offset: Any, cache: int = 2) -> None:
    """Ask for the line some bytes behind an address, into the second cache, or the first (3)."""
    place = at(builder, BYTE, address, offset)
    kind = ir.FunctionType(ir.VoidType(), [place.type, INT32, INT32, INT32])
    call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    builder.call(call, [place, INT32(0), INT32(cache), INT32(1)])


def interleaved(builder: Any, one: Any, other: Any, half: int) -> Any:
    """Interleave the lower (0) or upper (8) bytes of each 128-bit part."""
    width = one.type.count
    places = [
        part + half + byte + source
        for part in range(0, width, 16)
        for byte in range(8)
        for source in (0, width)
    ]
    return shuffled(builder, one, other, places)


def joined(builder: Any, pieces: list[Any]) -> Any:
    """Return vectors one behind the other as one."""
    while len(pieces) > 1:
        both = list(range(2 * pieces[0].type.count))
        pairs = zip(pieces[::2], pieces[1::2], strict=True)
        pieces = [shuffled(builder, *pair, both) for pair in pairs]
    return pieces[0]
