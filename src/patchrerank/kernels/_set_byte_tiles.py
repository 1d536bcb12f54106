"""The inner tile of int8 set comparison without a dot-product instruction, in LLVM's own terms.

One instruction multiplies unsigned bytes with signed ones and adds pairs of products to 16 bits; it
saturates. Rows travel with 128 added (which ``128 × Σ query`` takes away again), four dimensions a
lane, and the sums of ``GROUPS`` such groups are added as they are before they are widened. Queries
are rounded so that none of these sums can leave 16 bits: the ``2 × GROUPS`` codes that meet in a
lane have magnitudes of at most ``MOST`` in all.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic

from patchrerank.kernels._processor import FEATURES
from patchrerank.kernels._set_tiles import HAS_INT8, ROWS, WIDTH, keep_best, place_of, splat

types: Any = numba_types

_WIDE = WIDTH == 16
HAS_BYTES = not HAS_INT8 and bool(FEATURES.get("avx512bw" if _WIDE else "avx2"))
GROUPS = 4  # of four dimensions, whose products are added in 16 bits
BLOCK = 4 * GROUPS  # dimensions of a turn
MOST = 32767 // 255

_BYTE, _INT16, _INT32, _INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_FLOAT = ir.FloatType()
_FLOATS, _INTS = ir.VectorType(_FLOAT, WIDTH), ir.VectorType(_INT32, WIDTH)
_BYTES, _SHORTS = ir.VectorType(_BYTE, 4 * WIDTH), ir.VectorType(_INT16, 2 * WIDTH)
_BY_BYTES = "llvm.x86.avx512.pmaddubs.w.512" if _WIDE else "llvm.x86.avx2.pmadd.ub.sw"
_BY_PAIRS = "llvm.x86.avx512.pmaddw.d.512" if _WIDE else "llvm.x86.avx2.pmadd.wd"


def _called(builder: Any, name: str, result: Any, both: list[Any]) -> Any:
    kind = ir.FunctionType(result, [one.type for one in both])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), both)


def _block_sum(builder: Any, row: Any, queries: list[Any]) -> Any:
    """Return the products of one row's block with those of ``WIDTH`` descriptors, in 16 bits."""
    total: Any = None
    for group, query in enumerate(queries):
        four = builder.load(place_of(builder, row, _INT64(group), _INT64(4), _INT32), align=1)
        value = builder.bitcast(splat(builder, four), _BYTES)
        part = _called(builder, _BY_BYTES, _SHORTS, [value, query])
        total = part if total is None else builder.add(total, part)
    return total


def _products(builder: Any, operands: Any, rows: list[Any]) -> list[Any]:
    """Return the sums of products, int32, a vector for each row."""
    query, base, stride, blocks = operands
    ones = ir.Constant(_SHORTS, [1] * (2 * WIDTH))
    sums = [cgutils.alloca_once_value(builder, ir.Constant(_INTS, [0] * WIDTH)) for _ in rows]
    starts = [builder.add(base, builder.mul(stride, row)) for row in rows]
    with cgutils.for_range_slice(builder, _INT64(0), blocks, _INT64(1), intp=_INT64) as (block, _):
        line = builder.add(query, builder.mul(block, _INT64(BLOCK * WIDTH)))
        size = _INT64(4 * WIDTH)
        queries = [
            builder.load(place_of(builder, line, _INT64(group), size, _BYTES), align=4)
            for group in range(GROUPS)
        ]
        for start, total in zip(starts, sums, strict=True):
            row = builder.add(start, builder.mul(block, _INT64(BLOCK)))
            both = [_block_sum(builder, row, queries), ones]
            wide = _called(builder, _BY_PAIRS, _INTS, both)
            builder.store(builder.add(builder.load(total), wide), total)
    return [builder.load(total) for total in sums]


def _byte_tile(context: Any, rows: Any, operands: Any, extras: Any, answer: Any) -> Any:
    """Compare 6 rows with ``WIDTH`` query descriptors.

    ``operands``: addresses and sizes (query, base, stride, blocks); ``extras``: addresses of the
    rows' scales and of the descriptors' biases; ``answer``: (number of the first row, best, where).
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = [cgutils.unpack_tuple(builder, value) for value in args]
        scales, biases = parts[2]
        bias = builder.load(place_of(builder, biases, _INT64(0), _INT64(4), _INTS), align=4)
        found = []
        for row, total in zip(parts[0], _products(builder, parts[1], parts[0]), strict=True):
            scale = builder.load(place_of(builder, scales, row, _INT64(4), _FLOAT), align=1)
            value = builder.sitofp(builder.sub(total, bias), _FLOATS)
            found.append(builder.fmul(value, splat(builder, scale)))
        keep_best(builder, found, *parts[3])
        return context.get_dummy_value()

    return types.void(rows, operands, extras, answer), build


byte_tile: Any = intrinsic(_byte_tile)
__all__ = ["BLOCK", "GROUPS", "HAS_BYTES", "MOST", "ROWS", "byte_tile"]
