"""The inner tile of 4-bit codes, written in LLVM's own terms: tables of 16 stay in registers.

A tile takes 16 rows of codes, two a byte, as they lie in the store. Their bytes are transposed in
registers, so that one register holds one byte of all 16 rows (in each 128-bit part another one);
the processor's byte shuffle then looks 16 codes up at once. Tables have 14 bits an entry, in two
bytes of 7: the two codes of a byte add up without a carry, and sums are whole numbers, the same
in every grouping and on every processor.

Source: André et al., Cache locality is not enough: high-performance nearest neighbor search with
product quantization fast scan (PVLDB 2015); faiss's fast scan, whose codes are transposed on disk.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic

from patchrerank.kernels._processor import SHUFFLES

ROWS = 16  # rows a tile
KINDS = 4  # tables of a byte: low and high 7 bits, of its low and its high code
CHUNKS = 16  # registers of a row whose sums fit 16 bits

types: Any = numba_types
_BYTE, _INT16, _INT32, _INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def _wide(scalar: Any, count: int) -> Any:
    return ir.VectorType(scalar, count)


def _all(kind: Any, value: int) -> Any:
    return ir.Constant(kind, [kind.element(value)] * kind.count)


def _shuffled(builder: Any, one: Any, other: Any, places: list[int]) -> Any:
    mask = ir.Constant(_wide(_INT32, len(places)), [_INT32(place) for place in places])
    return builder.shuffle_vector(one, other, mask)


def _interleaved(builder: Any, one: Any, other: Any, half: int) -> Any:
    """Interleave the lower (0) or upper (8) bytes of each 128-bit part."""
    width = one.type.count
    places = [
        part + half + byte + source
        for part in range(0, width, ROWS)
        for byte in range(ROWS // 2)
        for source in (0, width)
    ]
    return _shuffled(builder, one, other, places)


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Return 16 vectors, the k-th of byte k of each 128-bit part of all rows."""
    for _ in range(4):
        pairs = zip(rows[:8], rows[8:], strict=True)
        rows = [_interleaved(builder, *pair, half) for pair in pairs for half in (0, 8)]
    return rows


def _codes_of(builder: Any, column: Any) -> tuple[Any, Any]:
    """Return the low and the high code of each byte."""
    width = column.type.count
    pairs = _wide(_INT16, width // 2)
    shifted = builder.lshr(builder.bitcast(column, pairs), _all(pairs, 4))
    low = _all(column.type, 15)
    return builder.and_(column, low), builder.and_(builder.bitcast(shifted, column.type), low)


def _add_column(builder: Any, look_up: Any, column: Any, tables: Any, sums: list[Any]) -> None:
    """Look the codes of a column up; ``sums``: of low bits, all and odd rows; of high bits."""
    kind = column.type
    low, high = _codes_of(builder, column)
    for half in range(2):
        found = []
        for code, number in ((low, half), (high, half + 2)):
            at = builder.add(tables, _INT64(number * kind.count))
            table = builder.load(builder.inttoptr(at, kind.as_pointer()), align=1)
            found.append(builder.call(look_up, [table, code]))
        both = builder.bitcast(builder.add(*found), _wide(_INT16, kind.count // 2))
        odd = builder.lshr(both, _all(both.type, 8))
        for total, value in zip(sums[2 * half : 2 * half + 2], (both, odd), strict=True):
            builder.store(builder.add(builder.load(total), value), total)


def _row_sums(builder: Any, sums: list[Any]) -> Any:
    """Return the sums of the 16 rows, int32."""
    sides = []
    low, low_odd, high, high_odd = (builder.load(total) for total in sums)
    eight = _all(low.type, 8)
    even = [
        builder.sub(whole, builder.shl(odd, eight))
        for whole, odd in ((low, low_odd), (high, high_odd))
    ]
    for first, second in (even, (low_odd, high_odd)):
        wide = _wide(_INT32, first.type.count)
        upper = builder.shl(builder.zext(second, wide), _all(wide, 7))
        total = builder.add(builder.zext(first, wide), upper)
        parts = [
            _shuffled(builder, total, total, list(range(start, start + 8)))
            for start in range(0, wide.count, 8)
        ]
        while len(parts) > 1:
            parts = [*parts[2:], builder.add(parts[0], parts[1])]
        sides.append(parts[0])
    in_order = [side + 8 * odd for side in range(8) for odd in (0, 1)]
    return _shuffled(builder, sides[0], sides[1], in_order)


def _nibble_tile(
    context: Any, parts: Any, rows: Any, offset: Any, tables: Any, chunks: Any, out: Any
) -> Any:
    """Add the sums of 16 rows, int32, to what stands at ``out``.

    ``parts``: a tuple whose length is that of a register in units of 16 bytes; ``rows``: address
    of 16 addresses; ``offset``: the byte where rows begin; ``chunks``: registers of a row, at most
    ``CHUNKS``; ``tables``: address of theirs, 16 × 4 registers a chunk.
    """
    width = ROWS * parts.count

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, half = _wide(_BYTE, width), _wide(_INT16, width // 2)
        made = ir.FunctionType(kind, [kind] * 2)
        look_up = cgutils.get_or_insert_function(builder.module, made, SHUFFLES[width])
        sums = [cgutils.alloca_once_value(builder, _all(half, 0)) for _ in range(4)]
        starts = [
            builder.add(
                builder.load(
                    builder.inttoptr(builder.add(args[1], _INT64(8 * row)), _INT64.as_pointer())
                ),
                args[2],
            )
            for row in range(ROWS)
        ]
        with cgutils.for_range(builder, args[4], intp=_INT64) as loop:
            at = builder.mul(loop.index, _INT64(width))
            loaded = [
                builder.load(builder.inttoptr(builder.add(start, at), kind.as_pointer()), align=1)
                for start in starts
            ]
            table = builder.add(args[3], builder.mul(at, _INT64(ROWS * KINDS)))
            for number, column in enumerate(_transposed(builder, loaded)):
                here = builder.add(table, _INT64(number * KINDS * width))
                _add_column(builder, look_up, column, here, sums)
        target = builder.inttoptr(args[5], _wide(_INT32, ROWS).as_pointer())
        before = builder.load(target, align=4)
        builder.store(builder.add(before, _row_sums(builder, sums)), target, align=4)
        return context.get_dummy_value()

    return types.void(parts, rows, offset, tables, chunks, out), build


nibble_tile: Any = intrinsic(_nibble_tile)
