"""The inner tile of codes, written in LLVM's own terms: look-up tables stay in registers.

A tile takes as many rows of codes as a register has bytes, as they lie in the store. Sixteen bytes
of each are transposed in registers, so that one register holds one byte of all rows; the
processor's byte shuffle then looks as many codes up at once: two of 4 bits a byte in tables of 16,
or one of 8 bits in a table of 256 (with AVX-512 VBMI, which shuffles two registers, by four such
looks, else by 32). Entries are
whole numbers in two bytes, so that sums are the same in every grouping and on every processor:
those of 4 bits have 14 bits, two of 7, which add up without a carry; those of 8 bits have 16.

Source: André et al., Cache locality is not enough: high-performance nearest neighbor search with
product quantization fast scan (PVLDB 2015); faiss's fast scan, whose codes are transposed on disk.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic

from patchrerank.kernels._processor import FEATURES, SHUFFLES
from patchrerank.kernels._vectors import (
    BYTE,
    INT16,
    INT32,
    INT64,
    all_of,
    ask_for,
    at,
    interleaved,
    joined,
    load,
    shuffled,
    wide,
)

WIDTH = max(SHUFFLES, default=0)
"""Rows a tile; 0: the processor looks nothing up in registers."""
ROWS = max(64, 2 * WIDTH)
"""Rows that are worked on together."""
TILES = ROWS // (WIDTH or ROWS)
SHARED = TILES if WIDTH == 64 else 1
"""Tiles that share what is read of the tables: as many as there are registers for."""
STREAMS = 4
"""Parts of the rows that come next, which are asked for in turn: memory gives them sooner."""
BLOCK = 16
"""Bytes of a row that are worked on together."""
LINES = ROWS * BLOCK // 64
"""Cache lines that are asked for meanwhile, as many as are read: 16 or 32."""
BLOCKS = 16
"""How many of these have sums that fit 16 bits."""
NIBBLE_LOW, BYTE_LOW = 7, 8
"""Bits in the lower byte of an entry, by the bits of codes."""
NIBBLE_TABLES = 4 * 16
"""Bytes of a byte's tables: low and high bits of its low code, then of its high code."""
BYTE_TABLES = 2 * 256
"""The same of a code of 8 bits."""
LOOKS_BYTES_UP = WIDTH >= 32
"""Whether codes of 8 bits are looked up in registers, too: in narrower ones memory is as fast."""

types: Any = numba_types


def _spread(context: Any, rows: Any, offset: Any, columns: Any) -> Any:
    """Write byte 0 of all rows, byte 1, … to ``columns``: 16 × ``ROWS`` bytes.

    ``rows``: address of ``ROWS`` addresses; ``offset``: the byte where the sixteen begin.
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        with cgutils.for_range(builder, INT64(TILES), intp=INT64) as loop:
            here = builder.add(args[0], builder.mul(loop.index, INT64(8 * WIDTH)))
            vectors = []
            for row in range(BLOCK):
                starts = [load(builder, INT64, here, 8 * lane) for lane in range(row, WIDTH, BLOCK)]
                kind = wide(BYTE, BLOCK)
                pieces = [load(builder, kind, start, args[1]) for start in starts]
                vectors.append(joined(builder, pieces))
            for _ in range(4):
                pairs = zip(vectors[:8], vectors[8:], strict=True)
                vectors = [interleaved(builder, *p, half) for p in pairs for half in (0, 8)]
            out = builder.add(args[2], builder.mul(loop.index, INT64(WIDTH)))
            for number, vector in enumerate(vectors):
                target = at(builder, vector.type, out, number * ROWS)
                builder.store(vector, target, align=1)
        return context.get_dummy_value()

    return types.void(rows, offset, columns), build


def _looked_up(builder: Any, tables: Any, offset: int, codes: Any) -> Any:
    """Return what codes of 4 bits find in a table of 16 bytes."""
    kind = codes.type
    call = ir.FunctionType(kind, [kind] * 2)
    look_up = cgutils.get_or_insert_function(builder.module, call, SHUFFLES[WIDTH])
    table = load(builder, wide(BYTE, 16), tables, offset)
    table = shuffled(builder, table, table, [place % 16 for place in range(WIDTH)])
    return builder.call(look_up, [table, codes])


def _moved(builder: Any, column: Any, bits: int) -> Any:
    """Return bytes moved up (or down, if negative) in their pairs."""
    pairs = builder.bitcast(column, wide(INT16, WIDTH // 2))
    move = builder.shl if bits > 0 else builder.lshr
    return builder.bitcast(move(pairs, all_of(pairs.type, abs(bits))), column.type)


def _nibbles(builder: Any, column: Any, tables: Any) -> list[Any]:
    """Return the low and the high bits of a byte's two codes together."""
    low = all_of(column.type, 15)
    codes = [builder.and_(value, low) for value in (column, _moved(builder, column, -4))]
    found = [_looked_up(builder, tables, 16 * n, codes[n // 2]) for n in range(4)]
    return [builder.add(found[half], found[half + 2]) for half in range(2)]


def _bytes(builder: Any, column: Any, tables: Any) -> list[Any]:
    """Return the low and the high bits of a code of 8 bits, by looks into two registers each."""
    kind = column.type
    call = ir.FunctionType(kind, [kind] * 3)
    name = "llvm.x86.avx512.vpermi2var.qi.512"
    look_up = cgutils.get_or_insert_function(builder.module, call, name)
    upper = builder.icmp_signed("<", column, all_of(kind, 0))
    found = []
    for half in range(2):
        held = [load(builder, kind, tables, 256 * half + 64 * part) for part in range(4)]
        sides = [builder.call(look_up, [held[n], column, held[n + 1]]) for n in (0, 2)]
        found.append(builder.select(upper, sides[1], sides[0]))
    return found


def _bytes_by_nibbles(builder: Any, column: Any, tables: Any) -> list[Any]:
    """Return the same by looks into tables of 16, which give 0 where a code has its highest bit.

    That is set where a code is in another one of four such tables: what they give is joined.
    Between the four groups of four the upper two bits choose.
    """
    kind = column.type
    six, away = builder.and_(column, all_of(kind, 63)), all_of(kind, 112)
    codes = [builder.add(builder.xor(six, all_of(kind, 16 * table)), away) for table in range(4)]
    signs = [
        builder.icmp_signed("<", value, all_of(kind, 0))
        for value in (_moved(builder, column, 1), column)
    ]
    found = []
    for half in range(2):
        groups = []
        for first in range(256 * half, 256 * half + 256, 64):
            looks = [_looked_up(builder, tables, first + 16 * n, codes[n]) for n in range(4)]
            groups.append(reduce(builder.or_, looks))
        sides = [builder.select(signs[0], groups[n + 1], groups[n]) for n in (0, 2)]
        found.append(builder.select(signs[1], sides[1], sides[0]))
    return found


def _ask(builder: Any, column: Any, rows: Any, steps: Any) -> None:
    """Ask for some of the lines of later rows: many at once would be waited for."""
    each = LINES // BLOCK
    for number in range(each):
        turn = builder.add(builder.mul(column, INT64(each)), INT64(number))
        stream = builder.and_(turn, INT64(STREAMS - 1))
        step = builder.add(steps, builder.mul(builder.udiv(turn, INT64(STREAMS)), INT64(16)))
        row = builder.add(rows, builder.mul(stream, INT64(8 * ROWS // STREAMS)))
        start = load(builder, INT64, builder.add(row, load(builder, INT64, step)))
        ask_for(builder, start, load(builder, INT64, step, 8))


def _adder(look_up: Any, size: int) -> Any:
    def add(context: Any, tables: Any, columns: Any, sums: Any, rows: Any, steps: Any) -> Any:
        """Look 16 columns up, and add to the ``sums`` of 16 bits at an address.

        Of each tile: low bits of all rows in pairs, of odd rows, and the same of high bits. What
        ``rows`` (address of ``ROWS`` addresses) will need is asked for: ``steps`` tells of each
        stream's lines in which row (times 8) they begin, and at which byte.
        """

        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind, pairs = wide(BYTE, WIDTH), wide(INT16, WIDTH // 2)
            for first in range(0, TILES, SHARED):
                start = 4 * WIDTH * first
                places = [at(builder, pairs, args[2], start + WIDTH * n) for n in range(4 * SHARED)]
                held = [
                    cgutils.alloca_once_value(builder, builder.load(place, align=1))
                    for place in places
                ]
                with cgutils.for_range(builder, INT64(BLOCK), intp=INT64) as loop:
                    if first == 0:
                        _ask(builder, loop.index, args[3], args[4])
                    table = builder.add(args[0], builder.mul(loop.index, INT64(size)))
                    column = builder.add(args[1], builder.mul(loop.index, INT64(ROWS)))
                    for tile in range(SHARED):
                        codes = load(builder, kind, column, (first + tile) * WIDTH)
                        for half, found in enumerate(look_up(builder, codes, table)):
                            both = builder.bitcast(found, pairs)
                            odd = builder.lshr(both, all_of(pairs, 8))
                            for number, value in ((0, both), (1, odd)):
                                total = held[4 * tile + 2 * half + number]
                                builder.store(builder.add(builder.load(total), value), total)
                for total, place in zip(held, places, strict=True):
                    builder.store(builder.load(total), place, align=1)
            return context.get_dummy_value()

        return types.void(tables, columns, sums, rows, steps), build

    return intrinsic(add)


def _row_sums(context: Any, low_bits: Any, sums: Any, out: Any) -> Any:
    """Add what is summed in 16 bits to the int32 of each row at ``out``, and begin anew."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pairs, whole = wide(INT16, WIDTH // 2), wide(INT32, WIDTH // 2)
        one = builder.insert_element(all_of(whole, 0), builder.trunc(args[0], INT32), INT32(0))
        up = shuffled(builder, one, one, [0] * whole.count)
        with cgutils.for_range(builder, INT64(TILES), intp=INT64) as loop:
            here = builder.add(args[1], builder.mul(loop.index, INT64(4 * WIDTH)))
            places = [at(builder, pairs, here, WIDTH * n) for n in range(4)]
            low, low_odd, high, high_odd = (builder.load(place, align=1) for place in places)
            sides = []
            for both, odd in ((low, low_odd), (high, high_odd)):
                even = builder.sub(both, builder.shl(odd, all_of(pairs, 8)))
                sides.append([builder.zext(rows, whole) for rows in (even, odd)])
            totals = [
                builder.add(first, builder.shl(second, up))
                for first, second in zip(*sides, strict=True)
            ]
            order = [row // 2 + (row % 2) * (WIDTH // 2) for row in range(WIDTH)]
            found = shuffled(builder, totals[0], totals[1], order)
            target = builder.add(args[2], builder.mul(loop.index, INT64(4 * WIDTH)))
            place = at(builder, found.type, target)
            builder.store(builder.add(builder.load(place, align=1), found), place, align=1)
            for place in places:
                builder.store(all_of(pairs, 0), place, align=1)
        return context.get_dummy_value()

    return types.void(low_bits, sums, out), build


spread: Any = intrinsic(_spread)
add_nibbles: Any = _adder(_nibbles, NIBBLE_TABLES)
_VBMI = WIDTH == 64 and FEATURES.get("avx512vbmi", False)
add_bytes: Any = _adder(_bytes if _VBMI else _bytes_by_nibbles, BYTE_TABLES)
row_sums: Any = intrinsic(_row_sums)
