"""Sums over the lanes of several vectors at once, in LLVM's own terms.

Vectors are halved and put side by side, so that one addition serves two of them. The tree is the
same for each whatever stands beside it: first half + second half, and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir


def _picked(builder: Any, vectors: list[Any], lanes: list[int]) -> Any:
    index = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
    return builder.shuffle_vector(vectors[0], vectors[-1], index)


def lane_sums(builder: Any, vectors: list[Any], add: Callable[[Any, Any], Any]) -> list[Any]:
    """Return the sum over the lanes of each vector, side by side in as few vectors as hold them.

    Args:
        builder: of LLVM's code.
        vectors: of one type, whose number of lanes is a power of two.
        add: adds two vectors.
    """
    count, width = len(vectors), vectors[0].type.count
    length = width
    while length > 1:
        length //= 2
        first = [lane for lane in range(2 * width) if lane % (2 * length) < length]
        second = [lane + length for lane in first]
        pairs = [vectors[number : number + 2] for number in range(0, len(vectors), 2)]
        vectors = [
            add(_picked(builder, pair, first), _picked(builder, pair, second)) for pair in pairs
        ]
    left = [min(width, count - width * number) for number in range(len(vectors))]
    return [
        _picked(builder, [vector], list(range(held)))
        for vector, held in zip(vectors, left, strict=True)
    ]


def write_sums(builder: Any, sums: list[Any], out: Any) -> None:
    """Write vectors of values of four bytes one behind the other."""
    for sum_ in sums:
        builder.store(sum_, builder.inttoptr(out, sum_.type.as_pointer()), align=4)
        out = builder.add(out, ir.IntType(64)(4 * sum_.type.count))
