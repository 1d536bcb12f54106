"""The inner loop of the walks, written in LLVM's own terms.

16 lanes walk the dimensions in order and are summed by a fixed tree: a (query, row) pair gets
the same bits however it is grouped with others, unaligned memory maps can be read in place, and
half floats are converted by the processor; int8 rows are multiplied in whole numbers with queries
of 16 bits (``_byte_tiles.py``). Rows are passed as addresses: one compilation serves read-only,
memory-mapped and unaligned arrays; the caller keeps the arrays alive.

The compiled code on disk is renewed when the file of a *kernel* changes: after an edit here,
touch ``_row_walks.py``, ``_image_walks.py``, ``_codes.py``, ``_sets.py`` and ``requests.py`` as
well.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from patchrerank.kernels._byte_tiles import byte_sums

LANES = 16
AHEAD = 1024  # bytes that are prefetched ahead in each stream, into the second cache: many are
# under way at once, more than the first one waits for. Tried and lost: 512 to 4096 bytes, and the
# first bytes of the images that come next.

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_BYTE = ir.IntType(8)
_STORED = {  # the tag's type says how elements are stored
    types.float32: (_FLOAT, 4),
    types.uint16: (ir.HalfType(), 2),
    types.int8: (_BYTE, 1),
}


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


def _prefetch(builder: Any, address: Any, offset: Any) -> None:
    pointer_type = _BYTE.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer_type, _INT32, _INT32, _INT32])
    call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    pointer = builder.inttoptr(builder.add(address, offset), pointer_type)
    builder.call(call, [pointer, _INT32(0), _INT32(2), _INT32(1)])


def _lane_sum(builder: Any, vector: Any) -> Any:
    width = LANES
    nothing = ir.Constant(_wide(_FLOAT, width), ir.Undefined)
    while width > 1:
        half = width // 2
        index = ir.VectorType(_INT32, half)
        low = builder.shuffle_vector(vector, nothing, ir.Constant(index, list(range(half))))
        high = builder.shuffle_vector(vector, nothing, ir.Constant(index, list(range(half, width))))
        vector, width = builder.fadd(low, high), half
        nothing = ir.Constant(vector.type, ir.Undefined)
    return builder.extract_element(vector, _INT32(0))


def _accumulate(
    builder: Any, tag: Any, streams: tuple[Any, Any], span: tuple[Any, Any], sums: Any, width: int
) -> None:
    """Add the products of elements ``span`` of every (row, query) pair to ``sums``."""
    queries, rows = streams
    wide = _wide(_FLOAT, width)
    name = "llvm.fmuladd.f32" if width == 1 else f"llvm.fmuladd.v{width}f32"
    kind = ir.FunctionType(wide, [wide] * 3)
    add = cgutils.get_or_insert_function(builder.module, kind, name)
    size = _INT64(_STORED[tag][1])
    loop = cgutils.for_range_slice(builder, *span, _INT64(width), intp=_INT64)
    with loop as (index, _):
        loaded = [load(builder, types.float32, query, index, width) for query in queries]
        for number, row in enumerate(rows):
            if width > 1:
                _prefetch(builder, row, builder.add(builder.mul(index, size), _INT64(AHEAD)))
            value = load(builder, tag, row, index, width)
            for column, query in enumerate(loaded):
                total = sums[number * len(loaded) + column]
                builder.store(builder.call(add, [value, query, builder.load(total)]), total)


def _write(builder: Any, values: list[Any], out: Any) -> None:
    for number, value in enumerate(values):
        at = builder.inttoptr(builder.add(out, _INT64(4 * number)), _FLOAT.as_pointer())
        builder.store(value, at)


def _dot_tile(context: Any, tag: Any, queries: Any, rows: Any, dim: Any, out: Any) -> Any:
    """Write the inner products of rows (addresses) × queries (addresses) to ``out`` (address).

    Queries are float32, those of int8 rows int16.
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        streams = (
            cgutils.unpack_tuple(builder, args[1], queries.count),
            cgutils.unpack_tuple(builder, args[2], rows.count),
        )
        if tag == types.int8:
            fetch = lambda to, row, index: _prefetch(to, row, to.add(index, _INT64(AHEAD)))  # noqa: E731
            _write(builder, byte_sums(builder, streams, args[3], fetch), args[4])
            return context.get_dummy_value()
        pairs = queries.count * rows.count
        whole = builder.and_(args[3], _INT64(-LANES))
        zero = ir.Constant(_wide(_FLOAT, LANES), [0.0] * LANES)
        lanes = [cgutils.alloca_once_value(builder, zero) for _ in range(pairs)]
        _accumulate(builder, tag, streams, (_INT64(0), whole), lanes, LANES)
        sums = [
            cgutils.alloca_once_value(builder, _lane_sum(builder, builder.load(lane)))
            for lane in lanes
        ]
        _accumulate(builder, tag, streams, (whole, args[3]), sums, 1)
        _write(builder, [builder.load(total) for total in sums], args[4])
        return context.get_dummy_value()

    return types.void(tag, queries, rows, dim, out), build


def _square_sum(context: Any, tag: Any, row: Any, dim: Any) -> Any:
    """Return the sum of the squares of a row (address)."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = builder.and_(args[2], _INT64(-LANES))
        total: Any = None
        for width, span in ((LANES, (_INT64(0), whole)), (1, (whole, args[2]))):
            wide = _wide(_FLOAT, width)
            first = ir.Constant(wide, [0.0] * LANES) if width > 1 else total
            held = cgutils.alloca_once_value(builder, first)
            loop = cgutils.for_range_slice(builder, *span, _INT64(width), intp=_INT64)
            with loop as (index, _):
                value = load(builder, tag, args[1], index, width)
                squares = builder.fmul(value, value)
                builder.store(builder.fadd(builder.load(held), squares), held)
            total = builder.load(held) if width == 1 else _lane_sum(builder, builder.load(held))
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
        _prefetch(builder, args[0], _INT64(0))
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
