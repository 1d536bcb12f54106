"""One step of a walk over several images at once, a row of each, written in LLVM's own terms.

A lane walks one image; its state is a column of a table int64 ``(COLUMNS, LANES)``. Each lane is a
memory stream of its own: in many short streams rows arrive faster than in one, since what a
processor fetches ahead ends with the image, at the latest. It is told what comes next: rows some
way ahead, those of the lane's next image behind the last, go to the second cache.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic

from patchrerank.kernels._tiles import AGAIN, write_dots

types: Any = numba_types

LANES = 8  # at most
_STREAMS = {types.int8: 8, types.uint16: 4, types.float32: 4}
BESIDE = 1024  # bytes that are asked for ahead where a row is longer than what follows
_AHEAD = {types.int8: 1536, types.uint16: 1536 if AGAIN[types.uint16] else BESIDE, types.float32: 0}
"""Bytes that are asked for ahead in each stream, whole rows."""
COLUMNS = 8
SLOT, AT, END, BEGIN, WIN, SCALE, NEXT, THEN = range(COLUMNS)
"""What a lane holds: its slot of the list; addresses of the row that comes next, of the image's end
and begin, of the best row, of the next row's scale; the next slot, and where its image begins."""

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


def _at(builder: Any, base: Any, offset: int, kind: Any) -> Any:
    return builder.inttoptr(builder.add(base, _INT64(offset)), kind.as_pointer())


def _held(builder: Any, table: Any, column: int, count: int) -> list[Any]:
    """Return what the first ``count`` lanes hold in a column of the table."""
    first = 8 * LANES * column
    places = [_at(builder, table, first + 8 * lane, _INT64) for lane in range(count)]
    return [builder.load(place) for place in places]


def _later(builder: Any, at: Any, end: Any, then: Any) -> Any:
    """Return an address, or where it lies in the next image if it is not before the end."""
    beyond = builder.sub(at, end)
    within = builder.icmp_signed("<", beyond, _INT64(0))
    return builder.select(within, at, builder.add(then, beyond))


def _joined(builder: Any, values: list[Any]) -> Any:
    whole = ir.Constant(ir.VectorType(values[0].type, len(values)), ir.Undefined)
    for number, value in enumerate(values):
        whole = builder.insert_element(whole, value, _INT32(number))
    return whole


def _keep_best(builder: Any, table: Any, best: Any, sums: Any, rows: list[Any]) -> None:
    """Fold the sums of one row of each lane into the best; of equals the first stays."""
    floats, ints = sums.type, ir.VectorType(_INT64, len(rows))
    best_at, win_at = _at(builder, best, 0, floats), _at(builder, table, 8 * LANES * WIN, ints)
    top, winner = builder.load(best_at, align=4), builder.load(win_at, align=8)
    better = builder.fcmp_ordered(">", sums, top)
    builder.store(builder.select(better, sums, top), best_at, align=4)
    winner = builder.select(better, _joined(builder, rows), winner)
    builder.store(winner, win_at, align=8)


def _step_on(
    context: Any, tag: Any, places: Any, query: Any, dim: Any, step: Any, stride: Any, far: Any
) -> Any:
    """Score the row ``step`` of each lane, from where it stands, and keep the best.

    ``places``: addresses of the table, and of the best scores float32 ``(streams,)``; ``query``:
    address; ``far``: bytes that are asked for ahead.
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        count = _STREAMS[tag]
        table, best = cgutils.unpack_tuple(builder, args[1], 2)
        offset = builder.mul(args[4], args[5])
        at, ends, thens = (_held(builder, table, column, count) for column in (AT, END, THEN))
        rows = [builder.add(one, offset) for one in at]
        moved = [builder.add(row, args[6]) for row in rows]
        ahead = [_later(builder, *lane) for lane in zip(moved, ends, thens, strict=True)]
        floats = ir.VectorType(_FLOAT, count)
        out = cgutils.alloca_once(builder, floats)
        write_dots(builder, tag, ([args[2]], rows, ahead), args[3], builder.ptrtoint(out, _INT64))
        sums = builder.load(out)
        if tag == types.int8:
            first = builder.mul(args[4], _INT64(4))
            held = [builder.add(one, first) for one in _held(builder, table, SCALE, count)]
            scales = [builder.load(_at(builder, one, 0, _FLOAT), align=1) for one in held]
            sums = builder.fmul(sums, _joined(builder, scales))
        _keep_best(builder, table, best, sums, rows)
        return context.get_dummy_value()

    return types.void(tag, places, query, dim, step, stride, far), build


def _streams(context: Any, tag: Any) -> Any:
    """Return how many lanes walk rows that are stored like this."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _INT64(_STREAMS[tag])

    return types.int64(tag), build


def _ahead(context: Any, tag: Any) -> Any:
    """Return how many bytes are asked for ahead of rows that are stored like this."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _INT64(_AHEAD[tag])

    return types.int64(tag), build


ahead: Any = intrinsic(_ahead)
step_on: Any = intrinsic(_step_on)
streams: Any = intrinsic(_streams)
