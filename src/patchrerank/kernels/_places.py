"""Compiled look-ups: in which part a row lies, at which address, and where an image's rows lie.

Rows that lie one behind the other in S parts are told by ``starts`` int64 ``(S + 1,)``, the number
of each part's first row and that of all rows, and ``at`` int64 ``(S,)``, the address of each
part's first row, 0 where a part is not open yet. One array is one part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic

from patchrerank.kernels._tiles import prefetch, word_at
from patchrerank.kernels.jit import compiled, compiled_inside
from patchrerank.types import Rows

types: Any = numba_types
AHEAD = 8  # rows that are asked for before their turn


def _copy(context: Any, source: Any, target: Any, size: Any) -> Any:
    """Copy bytes from one address to another."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        places = [builder.inttoptr(args[1], byte), builder.inttoptr(args[0], byte)]
        cgutils.raw_memcpy(builder, *places, args[2], 1)
        return context.get_dummy_value()

    return types.void(source, target, size), build


copy_bytes: Any = intrinsic(_copy)


@compiled_inside
def part_of(starts: Rows, row: Any) -> Any:
    """Return the part that a row below ``starts[-1]`` lies in."""
    low, high = 0, len(starts) - 1
    while high - low > 1:
        middle = (low + high) >> 1
        if starts[middle] <= row:
            low = middle
        else:
            high = middle
    return low


@compiled
def locate(rows: Rows, starts: Rows, at: Rows, stride: int, found: Rows, first: int) -> int:
    """Write the address of each row ``(n,)`` from the slot ``first`` on, 0 for negative ones.

    Return the first slot whose row lies in a part that is not open, or in none; else -1.
    """
    for slot in range(first, len(rows)):
        row = rows[slot]
        found[slot] = 0
        if row >= starts[-1]:
            return slot
        if row >= 0:
            part = part_of(starts, row)
            if at[part] == 0:
                return slot
            found[slot] = at[part] + (row - starts[part]) * stride
    return -1


@compiled
def gather(addresses: Rows, size: int, out: int) -> None:
    """Copy ``size`` bytes from each address that is not 0, one behind the other."""
    for slot in range(len(addresses)):
        if slot + AHEAD < len(addresses):
            prefetch(addresses[slot + AHEAD])
        if addresses[slot] != 0:
            copy_bytes(addresses[slot], out + slot * size, size)


@compiled
def gather_spans(addresses: Rows, sizes: Rows, out: int) -> None:
    """Copy ``sizes[i]`` bytes from each address, one behind the other."""
    for slot in range(len(addresses)):
        if slot + AHEAD < len(addresses):
            prefetch(addresses[slot + AHEAD])
        copy_bytes(addresses[slot], out, sizes[slot])
        out += sizes[slot]


@compiled
def fill_spans(rows: Rows, ends: Rows, total: int, begins: Rows, counts: Rows) -> int:
    """Write begin and count of each row ``(n,)``; return the first slot that cannot be, or -1.

    A row without vectors, and row -1, an empty slot, begin at -1 and count 0.
    """
    for slot in range(len(rows)):
        row = rows[slot]
        begins[slot], counts[slot] = -1, 0
        if row < -1 or row >= len(ends):
            return slot
        if row >= 0:
            begin = ends[row - 1] if row > 0 else 0
            if begin < 0 or ends[row] < begin or ends[row] > total:
                return slot
            if ends[row] > begin:
                begins[slot], counts[slot] = begin, ends[row] - begin
    return -1


@compiled
def fill_part_spans(
    rows: Rows, starts: Rows, at: Rows, vectors: Rows, begins: Rows, counts: Rows, first: int
) -> int:
    """Do the same for counts in parts, from the slot ``first`` on.

    ``vectors`` int64 ``(S + 1,)`` says how many vectors lie before each part. A slot whose row lies
    in a part that is not open cannot be, yet.
    """
    for slot in range(first, len(rows)):
        row = rows[slot]
        begins[slot], counts[slot] = -1, 0
        if row < -1 or row >= starts[-1]:
            return slot
        if row >= 0:
            part = part_of(starts, row)
            if at[part] == 0:
                return slot
            end_at = at[part] + 8 * (row - starts[part])
            begin = np.int64(word_at(end_at - 8)) if row > starts[part] else np.int64(0)
            end = np.int64(word_at(end_at))
            if begin < 0 or end < begin or end > vectors[part + 1] - vectors[part]:
                return slot
            if end > begin:
                begins[slot], counts[slot] = vectors[part] + begin, end - begin
    return -1
