"""The inner loop of the walks over int8 rows: products in whole numbers, in LLVM's own terms.

The query is rounded to 16 bits, so that one instruction adds pairs of products, of two to three
times as many elements as of floats. Sums are whole numbers, the same in every grouping and on
every processor. A product is off by at most 1e-5 of the lengths of both, much less than int8 rows
are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils

from patchrerank.kernels._lane_sums import lane_sums, write_sums
from patchrerank.kernels._processor import FEATURES
from patchrerank.kernels.jit import compiled
from patchrerank.types import Floats

LINE = 64  # bytes of a row in each turn of the loop
MOST, HALF = 32767.0, float(1 << 30)

_FLOAT = ir.FloatType()
_BYTE, _INT16, _INT32, _INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_WIDE, _PAIRS = bool(FEATURES.get("avx512bw")), bool(FEATURES.get("avx2"))
WIDTH = 32 if _WIDE else 16
SUMS = WIDTH // 2 if _WIDE or _PAIRS else WIDTH


@compiled
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


def _added(builder: Any, total: Any, value: Any, query: Any) -> Any:
    """Add the products of two vectors of 16 bits, pair by pair where there is an instruction."""
    sums = total.type
    if WIDTH == SUMS:
        both = [builder.sext(one, sums) for one in (value, query)]
        return builder.add(total, builder.mul(*both))
    name = "llvm.x86.avx512.pmaddw.d.512" if _WIDE else "llvm.x86.avx2.pmadd.wd"
    pairs = _declared(builder, name, sums, [value.type] * 2)
    return builder.add(total, builder.call(pairs, [value, query]))


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
            for number, row in enumerate(rows):
                value = builder.sext(_at(builder, row, here, bytes_, 1), shorts)
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
    pairs = len(queries) * len(rows)
    zero = ir.Constant(ir.VectorType(_INT32, SUMS), [0] * SUMS)
    lanes = [cgutils.alloca_once_value(builder, zero) for _ in range(pairs)]
    lines, whole = (builder.and_(dim, _INT64(-size)) for size in (LINE, WIDTH))
    _accumulate(builder, streams, (_INT64(0), lines), lanes, LINE // WIDTH, ask)
    _accumulate(builder, streams, (lines, whole), lanes, 1, lambda _: None)
    sums = lane_sums(builder, list(map(builder.load, lanes)), builder.add)
    write_sums(builder, sums, out)
    places = [builder.add(out, _INT64(4 * number)) for number in range(pairs)]
    kept = [builder.inttoptr(place, _INT32.as_pointer()) for place in places]
    _add_rest(builder, streams, (whole, dim), kept)
    for place in kept:
        value = builder.sitofp(builder.load(place), _FLOAT)
        builder.store(value, builder.bitcast(place, _FLOAT.as_pointer()))
