"""The inner tile of set comparison, written in LLVM's own terms.

A tile keeps the similarities of 6 candidate rows × up to 64 query descriptors in registers
until they are whole, takes their maximum, and never writes a similarity matrix. It is written in
LLVM's own terms, since loops do not vectorise to it. Candidates are read in place; the query is
packed once (dimension by dimension, ``WIDTH`` descriptors side by side).

int8 rows against int8 queries use the processor's dot-product instruction (AVX-512 VNNI, ARM's
``sdot``) where there is one (``HAS_INT8``): bytes travel in groups of four dimensions. On x86 the
query's have 128 (``BIAS``) added, which ``128 × Σ row`` takes away again. Other processors: see
``_set_byte_tiles``.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic

from patchrerank.kernels._byte_tiles import added_fours
from patchrerank.kernels._processor import FEATURES, FOURS, multiplies_bytes
from patchrerank.kernels._tiles import load
from patchrerank.kernels._vectors import ask_for

ROWS = 6  # candidate rows a tile

types: Any = numba_types


_WIDE = bool(FEATURES.get("avx512f"))
HAS_INT8 = FOURS or multiplies_bytes(FEATURES)
BIAS = 0 if FOURS else 128  # what makes signed query bytes unsigned, where they have to be
WIDTH = 16 if _WIDE else 8  # query descriptors a vector
VECTORS = 4 if _WIDE else 2  # vectors a tile: with 6 rows they fill the registers
SOON = 12  # steps ahead that lines of a wide query are asked for into the first cache

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLOATS, _INTS = ir.VectorType(_FLOAT, WIDTH), ir.VectorType(_INT32, WIDTH)


def place_of(builder: Any, base: Any, index: Any, size: Any, kind: Any) -> Any:
    """Return a pointer to the value of a table that has an index; ``size``: bytes of one."""
    return builder.inttoptr(builder.add(base, builder.mul(index, size)), kind.as_pointer())


def splat(builder: Any, value: Any) -> Any:
    """Return a vector of ``WIDTH`` times the value."""
    empty = ir.Constant(ir.VectorType(value.type, WIDTH), ir.Undefined)
    first = builder.insert_element(empty, value, _INT32(0))
    return builder.shuffle_vector(first, empty, ir.Constant(_INTS, [0] * WIDTH))


def _adder(builder: Any, whole: bool, kind: Any) -> Any:
    """Return what adds the products of two vectors to a third."""

    def declared(name: str, result: Any, operands: list[Any]) -> Any:
        made = ir.FunctionType(result, operands)
        return cgutils.get_or_insert_function(builder.module, made, name)

    if not whole:
        fused = declared(f"llvm.fmuladd.v{WIDTH}f32", kind, [kind] * 3)
        return lambda so_far, part, value: builder.call(fused, [value, part, so_far])
    if FOURS:
        return lambda so_far, part, value: _all_fours(builder, so_far, part, value)
    fours = declared("llvm.x86.avx512.vpdpbusd.512", kind, [kind] * 3)
    return lambda so_far, part, value: builder.call(fours, [so_far, part, value])


def _all_fours(builder: Any, sums: Any, query: Any, row: Any) -> Any:
    """Add the products of groups of four bytes, four groups at a time."""
    four, bytes_ = ir.VectorType(_INT32, 4), ir.VectorType(ir.IntType(8), 16)
    parts = []
    for start in range(0, WIDTH, 4):
        mask = ir.Constant(four, list(range(start, start + 4)))
        total, *both = (builder.shuffle_vector(v, v, mask) for v in (sums, query, row))
        one, other = (builder.bitcast(part, bytes_) for part in both)
        parts.append(added_fours(builder, total, one, other))
    return builder.shuffle_vector(*parts, ir.Constant(_INTS, list(range(WIDTH))))


def _products(builder: Any, whole: bool, args: Any, rows: list[Any], vectors: int) -> list[Any]:
    """Return the inner products, one vector for each (row, query vector); int32 if ``whole``."""
    query, base, stride, steps, later = args
    scalar, kind = (_INT32, _INTS) if whole else (_FLOAT, _FLOATS)
    add = _adder(builder, whole, kind)
    zero = ir.Constant(kind, [scalar(0)] * WIDTH)
    sums = [cgutils.alloca_once_value(builder, zero) for _ in range(len(rows) * vectors)]
    starts = [builder.add(base, builder.mul(stride, row)) for row in rows]
    with cgutils.for_range_slice(builder, _INT64(0), steps, _INT64(1), intp=_INT64) as (step, _):
        ask_for(builder, later, builder.mul(step, _INT64(4 * ROWS)))
        line = builder.add(query, builder.mul(step, _INT64(4 * WIDTH * vectors)))
        for column in range(vectors if _WIDE else 0):
            ask_for(builder, line, _INT64(4 * WIDTH * (SOON * vectors + column)), 3)
        queries = [
            builder.load(place_of(builder, line, _INT64(column), _INT64(4 * WIDTH), kind), align=4)
            for column in range(vectors)
        ]
        for number, start in enumerate(starts):
            value = builder.load(place_of(builder, start, step, _INT64(4), scalar), align=1)
            value = splat(builder, value)
            for column, part in enumerate(queries):
                total = sums[number * vectors + column]
                builder.store(add(builder.load(total), part, value), total)
    return [builder.load(total) for total in sums]


def _scaled(builder: Any, sums: list[Any], rows: list[Any], extras: tuple[Any, Any]) -> list[Any]:
    """Return int8 sums as floats: ``scale × (sum - bias)`` with the values of each row."""
    scales, biases = extras
    vectors = len(sums) // len(rows)
    scaled = []
    for number, row in enumerate(rows):
        bias = splat(builder, builder.load(place_of(builder, biases, row, _INT64(4), _INT32)))
        scale = builder.load(place_of(builder, scales, row, _INT64(4), _FLOAT))
        scale = splat(builder, scale)
        for total in sums[number * vectors : (number + 1) * vectors]:
            value = builder.sitofp(builder.sub(total, bias), _FLOATS)
            scaled.append(builder.fmul(value, scale))
    return scaled


def keep_best(builder: Any, sums: list[Any], number: Any, best: Any, where: Any) -> None:
    """Fold the tile into the running best values and row numbers; of equals the first stays."""
    vectors = len(sums) // ROWS
    first = builder.trunc(number, _INT32)
    for column in range(vectors):
        offset, size = _INT64(column), _INT64(4 * WIDTH)
        best_at = place_of(builder, best, offset, size, _FLOATS)
        where_at = place_of(builder, where, offset, size, _INTS)
        top, winner = builder.load(best_at, align=4), builder.load(where_at, align=4)
        for row in range(ROWS):
            value = sums[row * vectors + column]
            better = builder.fcmp_ordered(">", value, top)
            top = builder.select(better, value, top)
            here = splat(builder, builder.add(first, _INT32(row)))
            winner = builder.select(better, here, winner)
        builder.store(top, best_at, align=4)
        builder.store(winner, where_at, align=4)


def _set_tile(
    context: Any, tag: Any, vectors: Any, rows: Any, operands: Any, extras: Any, answer: Any
) -> Any:
    """Compare 6 rows with ``len(vectors)`` query vectors.

    ``operands``: addresses and sizes (query, base, stride, steps, and from where as many bytes as
    the rows have are asked for meanwhile); ``extras``: addresses of the rows' scales and biases;
    ``answer``: (number of the first row, best, where).
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = [cgutils.unpack_tuple(builder, value) for value in args[2:]]
        whole = tag == types.int8
        sums = _products(builder, whole, parts[1], parts[0], vectors.count)
        if whole:
            sums = _scaled(builder, sums, parts[0], (parts[2][0], parts[2][1]))
        keep_best(builder, sums, *parts[3])
        return context.get_dummy_value()

    return types.void(tag, vectors, rows, operands, extras, answer), build


def _widen(context: Any, tag: Any, source: Any, dim: Any, scale: Any, target: Any) -> Any:
    """Write a stored row as float32, times its scale."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        span = (_INT64(0), args[2], _INT64(1))
        with cgutils.for_range_slice(builder, *span, intp=_INT64) as (index, _):
            value = builder.fmul(load(builder, tag, args[1], index, 1), args[3])
            builder.store(value, place_of(builder, args[4], index, _INT64(4), _FLOAT))
        return context.get_dummy_value()

    return types.void(tag, source, dim, scale, target), build


def _pointers(context: Any, address: Any, like: Any) -> Any:
    """Make an address a pointer to values of the type of ``like``."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(like).as_pointer())

    return types.CPointer(like)(address, like), build


set_tile: Any = intrinsic(_set_tile)
widen: Any = intrinsic(_widen)
pointer: Any = intrinsic(_pointers)
