"""The inner loop of the walks, written in LLVM's own terms.

16 lanes walk the dimensions in order and are summed by a fixed tree (``_lane_sums.py``): a (query,
row) pair gets the same bits however it is grouped with others, unaligned memory maps can be read
in place, and half floats are converted by the processor; int8 rows are multiplied in whole numbers
with queries of 16 bits (``_byte_tiles.py``). Rows are passed as addresses: one compilation serves
read-only, memory-mapped and unaligned arrays; the caller keeps the arrays alive.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from patchrerank.kernels._byte_tiles import LINE, byte_sums
from patchrerank.kernels._lane_sums import lane_sums, write_sums
from patchrerank.kernels._processor import FEATURES, FOURS
from patchrerank.kernels._vectors import ask_for

LANES = 16
_WIDE = bool(FEATURES.get("avx512f"))
HELD = 24 if _WIDE else 6  # sums of 16 lanes that the registers hold
NEAR = 256
"""Bytes ahead in a row that are asked for again, into the first cache: what was asked for long
before, into the second, may have been dropped, where much is under way at once."""

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_BYTE = ir.IntType(8)
_STORED = {  # the tag's type says how elements are stored
    types.float32: (_FLOAT, 4),
    types.uint16: (ir.HalfType(), 2),
    types.int8: (_BYTE, 1),
}
AGAIN = {types.int8: True, types.uint16: _WIDE, types.float32: False}  # where that gains something


def _wide(scalar: Any, width: int) -> Any:
    return scalar if width == 1 else ir.VectorType(scalar, width)


def load(builder: Any, tag: Any, address: Any, index: Any, width: int) -> Any:
    """Load ``width`` elements of any alignment and make them float32."""
    stored, size = _STORED[tag]
    at = builder.add(address, builder.mul(index, _INT64(size)))
    pointer = builder.inttoptr(at, _wide(stored, width).as_pointer())
    value = builder.load(pointer, align=1)
    if tag == types.float32:
        return value
    convert = builder.fpext if tag == types.uint16 else builder.sitofp
    return convert(value, _wide(_FLOAT, width))


def _ask(builder: Any, rows: list[Any], ahead: list[Any], again: bool, offset: Any) -> None:
    """Ask for what will be read of ``ahead``, and ``again`` for what will soon be of rows."""
    for row, later in zip(rows, ahead, strict=False):
        ask_for(builder, later, offset)
        if again:
            ask_for(builder, row, builder.add(offset, _INT64(NEAR)), 3)


def _accumulate(
    builder: Any,
    tag: Any,
    streams: tuple[Any, Any],
    span: tuple[Any, Any],
    sums: Any,
    times: int,
    ask: Any,
) -> None:
    """Add the products of elements ``span`` of every (row, query) pair, ``times`` sums a turn."""
    queries, rows = streams
    width = 1 if sums[0].type.pointee == _FLOAT else LANES
    wide = _wide(_FLOAT, width)
    name = "llvm.fmuladd.f32" if width == 1 else f"llvm.fmuladd.v{width}f32"
    kind = ir.FunctionType(wide, [wide] * 3)
    add = cgutils.get_or_insert_function(builder.module, kind, name)
    size = _INT64(_STORED[tag][1])
    loop = cgutils.for_range_slice(builder, *span, _INT64(times * width), intp=_INT64)
    with loop as (index, _):
        ask(builder.mul(index, size))
        for part in range(times):
            here = builder.add(index, _INT64(part * width))
            loaded = [load(builder, types.float32, query, here, width) for query in queries]
            for number, row in enumerate(rows):
                value = load(builder, tag, row, here, width)
                for column, query in enumerate(loaded):
                    total = sums[number * len(loaded) + column]
                    builder.store(builder.call(add, [value, query, builder.load(total)]), total)


def _float_sums(
    builder: Any, tag: Any, streams: tuple[Any, Any], dim: Any, out: Any, ask: Any
) -> None:
    """Write the inner products of rows of floats with queries to ``out`` (address)."""
    pairs, times = (
        len(streams[0]) * len(streams[1]),
        LINE // (LANES * _STORED[tag][1]) if _WIDE else 1,
    )
    lines, whole = (builder.and_(dim, _INT64(-size * LANES)) for size in (times, 1))
    zero = ir.Constant(_wide(_FLOAT, LANES), [0.0] * LANES)
    lanes = [cgutils.alloca_once_value(builder, zero) for _ in range(pairs)]
    _accumulate(builder, tag, streams, (_INT64(0), lines), lanes, times, ask)
    if times > 1:
        _accumulate(builder, tag, streams, (lines, whole), lanes, 1, lambda _: None)
    write_sums(builder, lane_sums(builder, list(map(builder.load, lanes)), builder.fadd), out)
    at = [builder.add(out, _INT64(4 * number)) for number in range(pairs)]
    places = [builder.inttoptr(place, _FLOAT.as_pointer()) for place in at]
    _accumulate(builder, tag, streams, (whole, dim), places, 1, lambda _: None)


def write_dots(
    builder: Any, tag: Any, streams: tuple[list[Any], list[Any], list[Any]], dim: Any, out: Any
) -> None:
    """Write the inner products of rows × queries to ``out``; all are addresses.

    Args:
        builder: of LLVM's code.
        tag: how rows are stored.
        streams: queries, float32, those of int8 rows int16; rows; and, as many as rows, from where
            as many bytes are asked for meanwhile, or none.
        dim: the number of dimensions.
        out: where float32 ``(rows, queries)`` are written.
    """
    queries, rows, ahead = streams
    parts = 1 if tag == types.int8 else -(-len(rows) * len(queries) // HELD)
    turn = -(-len(rows) // parts)
    if tag == types.int8 and FOURS:  # each query has two sums of a register, and each row one
        turn = max(1, 24 // (2 * len(queries) + 1))
    for first in range(0, len(rows), turn):
        part = slice(first, first + turn)
        ask = partial(_ask, builder, rows[part], ahead[part], AGAIN[tag])
        place = builder.add(out, _INT64(4 * first * len(queries)))
        how = ((queries, rows[part]), dim, place, ask)
        if tag == types.int8:
            byte_sums(builder, *how)
        else:
            _float_sums(builder, tag, *how)


def _dot_tile(
    context: Any, tag: Any, asked: Any, table: Any, rows: Any, ahead: Any, dim: Any, out: Any
) -> Any:
    """Do so with as many queries as ``asked`` is long, whose addresses lie in a table (address).

    ``rows`` are addresses, as are ``ahead``: what is asked for meanwhile, or nothing.
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        held = [*cgutils.unpack_tuple(builder, args[3], rows.count)]
        later = [*cgutils.unpack_tuple(builder, args[4], ahead.count)]
        places = [builder.add(args[2], _INT64(8 * number)) for number in range(asked.count)]
        pointers = [builder.inttoptr(place, _INT64.as_pointer()) for place in places]
        streams = [builder.load(pointer) for pointer in pointers], held, later
        write_dots(builder, tag, streams, args[5], args[6])
        return context.get_dummy_value()

    return types.void(tag, asked, table, rows, ahead, dim, out), build


def _square_sum(context: Any, tag: Any, row: Any, dim: Any) -> Any:
    """Return the sum of the squares of a row (address)."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = builder.and_(args[2], _INT64(-LANES))
        total: Any = None
        for width, span in ((LANES, (_INT64(0), whole)), (1, (whole, args[2]))):
            first = ir.Constant(_wide(_FLOAT, width), [0.0] * LANES) if width > 1 else total
            held = cgutils.alloca_once_value(builder, first)
            loop = cgutils.for_range_slice(builder, *span, _INT64(width), intp=_INT64)
            with loop as (index, _):
                value = load(builder, tag, args[1], index, width)
                squares = builder.fmul(value, value)
                builder.store(builder.fadd(builder.load(held), squares), held)
            total = builder.load(held)
            if width > 1:
                total = lane_sums(builder, [total], builder.fadd)[0]
                total = builder.extract_element(total, _INT32(0))
        return total

    return types.float32(tag, row, dim), build


def _scale_at(context: Any, address: Any, row: Any) -> Any:
    """Read one float32 scale."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return load(builder, types.float32, args[0], args[1], 1)

    return types.float32(address, row), build


def _fetch(context: Any, address: Any) -> Any:
    """Ask for the cache line at an address; any address is allowed."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ask_for(builder, args[0], _INT64(0))
        return context.get_dummy_value()

    return types.void(address), build


def _word_at(context: Any, address: Any) -> Any:
    """Read eight bytes of any alignment."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], _INT64.as_pointer()), align=1)

    return types.uint64(address), build


def _byte_at(context: Any, address: Any) -> Any:
    """Read one byte."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], _BYTE.as_pointer()))

    return types.uint8(address), build


prefetch: Any = intrinsic(_fetch)
byte_at: Any = intrinsic(_byte_at)
word_at: Any = intrinsic(_word_at)
dot_tile: Any = intrinsic(_dot_tile)
scale_at: Any = intrinsic(_scale_at)
square_sum: Any = intrinsic(_square_sum)
