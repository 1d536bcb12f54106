"""The inner loop of the walks over int8 rows: products in whole numbers, in LLVM's own terms.

The query is rounded to 16 bits, so that one instruction adds pairs of products, of two to three
times as many elements as of floats. Where there is none for pairs but one for four bytes (ARM's
``sdot``), a query travels as its upper and its lower bytes. Sums are whole numbers, the same in
every grouping and on every processor. A product is off by at most 1e-5 of the lengths of both, much
less than int8 rows are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils

from patchrerank.kernels._lane_sums import lane_sums, write_sums
from patchrerank.kernels._processor import FEATURES, FOURS
from patchrerank.kernels.jit import compiled_inside
from patchrerank.types import Floats

LINE = 64  # bytes of a row in each turn of the loop
MOST, HALF = 32767.0, float(1 << 30)

_FLOAT = ir.FloatType()
_BYTE, _INT16, _INT32, _INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_WIDE, _PAIRS = bool(FEATURES.get("avx512bw")), bool(FEATURES.get("avx2"))
WIDTH = 32 if _WIDE else 16
SUMS = WIDTH // 4 if FOURS else WIDTH // 2 if _WIDE or _PAIRS else WIDTH


@compiled_inside
def halved(query: Floats, halves: npt.NDArray[np.int16]) -> float:
    """Round a query ``(d,)`` to 16 bits; return the step: ``halves * step`` is the query.

    It is so small that no sum with codes of a row leaves 32 bits.
    """
    peak, square = 0.0, 0.0
    for value in query:
        peak = max(peak, abs(np.float64(value)))
        square += np.float64(value) * np.float64(value)
    if peak == 0:
        halves[:] = 0
        return 1.0
    grow = min(MOST / peak, HALF / (127 * np.sqrt(len(query) * square)))
    for place in range(len(query)):
        halves[place] = np.int16(np.rint(query[place] * grow))
    step: float = 1.0 / grow
    return step


def _at(builder: Any, base: Any, index: Any, kind: Any, size: int) -> Any:
    address = builder.add(base, builder.mul(index, _INT64(size)))
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


def _declared(builder: Any, name: str, result: Any, operands: list[Any]) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, operands), name)


def added_fours(builder: Any, total: Any, one: Any, other: Any) -> Any:
    """Add the products of 16 signed bytes to four int32, four to each (ARM's ``sdot``)."""
    name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
    fours = _declared(builder, name, total.type, [total.type, one.type, other.type])
    return builder.call(fours, [total, one, other])


def _added(builder: Any, total: Any, value: Any, query: Any) -> Any:
    """Add the products of two vectors, several by several where there is an instruction."""
    sums = total.type
    if FOURS:
        return added_fours(builder, total, value, query)
    if WIDTH == SUMS:
        both = [builder.sext(one, sums) for one in (value, query)]
        return builder.add(total, builder.mul(*both))
    name = "llvm.x86.avx512.pmaddw.d.512" if _WIDE else "llvm.x86.avx2.pmadd.wd"
    pairs = _declared(builder, name, sums, [value.type] * 2)
    return builder.add(total, builder.call(pairs, [value, query]))


def _factors(builder: Any, queries: list[Any]) -> list[Any]:
    """Return what rows are multiplied with: queries, or the bytes of which they are made.

    These are the upper and the lower ones of each query, from which 128 is taken so that they have
    a sign, and ones: the sum of a row, which is what that took.
    """
    if not FOURS:
        return queries
    kind, places = ir.VectorType(_BYTE, WIDTH), ir.VectorType(_INT32, WIDTH)
    found = []
    for query in queries:
        both = builder.bitcast(query, ir.VectorType(_BYTE, 2 * WIDTH))
        lower, upper = (
            builder.shuffle_vector(both, both, ir.Constant(places, list(range(at, 2 * WIDTH, 2))))
            for at in (0, 1)
        )
        found += [upper, builder.xor(lower, ir.Constant(kind, [-128] * WIDTH))]
    return [*found, ir.Constant(kind, [1] * WIDTH)]


def _joined(builder: Any, sums: list[Any], queries: int) -> list[Any]:
    """Return the sums of each row and query from those of its factors."""
    if not FOURS:
        return sums
    found, each = [], 2 * queries + 1
    byte, half = (ir.Constant(sums[0].type, [bits] * SUMS) for bits in (8, 7))
    for first in range(0, len(sums), each):
        taken = builder.shl(sums[first + each - 1], half)
        for at in range(first, first + each - 1, 2):
            upper = builder.shl(sums[at], byte)
            found.append(builder.add(builder.add(upper, sums[at + 1]), taken))
    return found


def _accumulate(
    builder: Any, streams: Any, span: tuple[Any, Any], sums: list[Any], times: int, ask: Any
) -> None:
    """Add the products of elements ``span``, ``times`` registers a turn."""
    queries, rows = streams
    bytes_, shorts = ir.VectorType(_BYTE, WIDTH), ir.VectorType(_INT16, WIDTH)
    loop = cgutils.for_range_slice(builder, *span, _INT64(times * WIDTH), intp=_INT64)
    with loop as (index, _):
        ask(index)
        for part in range(times):
            here = builder.add(index, _INT64(part * WIDTH))
            loaded = [_at(builder, query, here, shorts, 2) for query in queries]
            loaded = _factors(builder, loaded)
            for number, row in enumerate(rows):
                value = _at(builder, row, here, bytes_, 1)
                value = value if FOURS else builder.sext(value, shorts)
                for column, query in enumerate(loaded):
                    total = sums[number * len(loaded) + column]
                    builder.store(_added(builder, builder.load(total), value, query), total)


def _add_rest(builder: Any, streams: Any, span: tuple[Any, Any], sums: list[Any]) -> None:
    """Add the products of elements ``span`` one by one."""
    queries, rows = streams
    loop = cgutils.for_range_slice(builder, *span, _INT64(1), intp=_INT64)
    with loop as (index, _):
        loaded = [builder.sext(_at(builder, q, index, _INT16, 2), _INT32) for q in queries]
        for number, row in enumerate(rows):
            value = builder.sext(_at(builder, row, index, _BYTE, 1), _INT32)
            for column, query in enumerate(loaded):
                total = sums[number * len(loaded) + column]
                product = builder.mul(value, query)
                builder.store(builder.add(builder.load(total), product), total)


def byte_sums(builder: Any, streams: Any, dim: Any, out: Any, ask: Any) -> None:
    """Write the inner products, float32, of each row with each query of 16 bits.

    Args:
        builder: of LLVM's code.
        streams: addresses of queries, and of rows.
        dim: the number of dimensions.
        out: address of what is written, row by row.
        ask: asks for what rows will be read of, of an offset in the row.
    """
    queries, rows = streams
    each = 2 * len(queries) + 1 if FOURS else len(queries)  # factors of a row
    zero = ir.Constant(ir.VectorType(_INT32, SUMS), [0] * SUMS)
    lanes = [cgutils.alloca_once_value(builder, zero) for _ in range(each * len(rows))]
    lines, whole = (builder.and_(dim, _INT64(-size)) for size in (LINE, WIDTH))
    _accumulate(builder, streams, (_INT64(0), lines), lanes, LINE // WIDTH, ask)
    _accumulate(builder, streams, (lines, whole), lanes, 1, lambda _: None)
    joined = _joined(builder, list(map(builder.load, lanes)), len(queries))
    write_sums(builder, lane_sums(builder, joined, builder.add), out)
    places = [builder.add(out, _INT64(4 * number)) for number in range(len(joined))]
    kept = [builder.inttoptr(place, _INT32.as_pointer()) for place in places]
    _add_rest(builder, streams, (whole, dim), kept)
    for place in kept:
        value = builder.sitofp(builder.load(place), _FLOAT)
        builder.store(value, builder.bitcast(place, _FLOAT.as_pointer()))
