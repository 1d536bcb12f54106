"""The head of a ranking put into another order: every table of it in one pass."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._places import copy_bytes
from patchrerank.kernels._tiles import prefetch
from patchrerank.kernels.jit import compiled, compiled_inside, compiled_within
from patchrerank.types import Floats, Rows

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.uint64]
Tables: TypeAlias = tuple[Rows, Floats, Floats, Floats, Floats]
"""Rows, scores, global and local scores of lists, and boxes."""

ORDINARY = 1e-30, 1e30
"""Sizes of scores that carry an order as they are (:mod:`patchrerank.hit_scores`)."""


@compiled
def resort(
    before: Tables, exact: Doubles, local: Floats, by_local: bool, boxes: Floats, after: Tables
) -> None:
    """Sort the heads of all lists by what they score now, stably, and write their tables anew.

    Args:
        before: the tables, ``(Q, K)``; boxes ``(Q, K, 4)``.
        exact: float64 ``(Q, k)``, new scores of the head; empty slots (row -1) get −inf.
        local: float32 ``(Q, ≥ k)``, its new local scores.
        by_local: sort by the local score instead.
        boxes: float32 ``(Q, ≥ k, 4)``, C-contiguous, its new boxes; where one holds NaN, that of
            before stays.
        after: what is written.
    """
    queries, size = exact.shape
    width = before[0].shape[1]
    order, boxes_at = np.empty(width, np.int64), np.zeros(width, np.int64)
    for query in range(queries):
        write_order(before[0][query], local[query], by_local, exact[query], order)
        for place in range(size):
            boxes_at[place] = boxes.ctypes.data + 16 * (query * boxes.shape[1] + order[place])
        own = (before[0][query], before[1][query], before[2][query], before[3][query])
        new = (after[0][query], after[1][query], after[2][query], after[3][query])
        move_tables(
            order,
            (*own, before[4][query]),
            exact[query],
            local[query],
            boxes_at,
            (*new, after[4][query]),
        )


@compiled
def write_order(rows: Rows, local: Floats, by_local: bool, exact: Doubles, order: Rows) -> None:
    """Write from which slot each place of a list is taken, for as many places as ``order`` has.

    The first ``len(exact)`` slots are sorted, descending, empty ones last, whose exact score
    becomes −inf; those behind keep their place.
    """
    size = len(exact)
    keys, head = np.empty(size, np.float64), np.empty(size, np.int64)
    for slot in range(size):
        if rows[slot] == -1:
            exact[slot] = -np.inf
            keys[slot] = np.inf
        else:
            value = np.float64(local[slot]) if by_local else exact[slot]
            keys[slot] = 0.0 - value if value == value else np.nan  # never -0
    bits = keys.view(np.uint64)
    _make_rising(bits)
    _sort(bits, head)
    for place in range(len(order)):
        order[place] = head[place] if place < size else place


@compiled_within
def _make_rising(bits: Keys) -> None:
    """Turn the bits of float64, none of them -0, into numbers that rise with them."""
    top = np.uint64(1) << np.uint64(63)
    for slot in range(len(bits)):
        bits[slot] = ~bits[slot] if bits[slot] & top else bits[slot] | top


@compiled_within
def _sort(keys: Keys, order: Rows) -> None:
    """Write where keys ``(n,)`` stand, ascending, equals as they come: a byte at a time."""
    count, last = len(keys), np.uint64(255)
    found, other = np.zeros((8, 256), np.int64), np.empty(count, np.int64)
    for slot in range(count):
        order[slot] = slot
        for byte in range(8):
            found[byte, (keys[slot] >> np.uint64(8 * byte)) & last] += 1
    for byte in range(8):
        shift, counts = np.uint64(8 * byte), found[byte]
        if count == 0 or counts[(keys[0] >> shift) & last] == count:
            continue
        total = 0
        for digit in range(256):
            counts[digit], total = total, total + counts[digit]
        for place in range(count):
            key = (keys[order[place]] >> shift) & last
            other[counts[key]] = order[place]
            counts[key] += 1
        for place in range(count):
            order[place] = other[place]


@compiled_inside
def move_tables(
    order: Rows, before: Tables, exact: Doubles, local: Floats, boxes_at: Rows, after: Tables
) -> Any:
    """Write the first places of one list; return whether their scores carry that order.

    Args:
        order: int64 ``(n,)``, from which slot each place is taken.
        before: tables ``(K,)``, boxes ``(K, 4)``; the last two may be empty: they are NaN.
        exact: float64 ``(k,)``, new scores of the head.
        local: float32 ``(≥ k,)``, its new local scores.
        boxes_at: int64 ``(n,)``, the address of each place's new box; 0: there is none.
        after: what is written, ``(n,)``.
    """
    falls = True
    for place in range(len(after[0])):
        prefetch(boxes_at[place])
    for place in range(len(after[0])):
        slot = order[place]
        in_head = slot < len(exact)
        after[0][place] = before[0][slot]
        after[1][place] = exact[slot] if in_head else before[1][slot]
        after[2][place] = before[2][slot]
        if in_head:
            after[3][place] = local[slot]
        else:
            after[3][place] = before[3][slot] if len(before[3]) > 0 else np.nan
        _write_box(boxes_at[place], before[4], slot, after[4][place])
        value = after[1][place]
        ordinary = ORDINARY[0] < abs(value) < ORDINARY[1]
        falls = falls and ordinary and (place == 0 or value < after[1][place - 1])
    return falls


@compiled_inside
def _write_box(at: Any, before: Floats, slot: Any, box: Floats) -> None:
    """Write the box at an address; where that is not known, the one of before."""
    box[:] = np.nan
    if at != 0:
        copy_bytes(at, box.ctypes.data, 16)
    if np.isnan(box[0]) or np.isnan(box[1]) or np.isnan(box[2]) or np.isnan(box[3]):
        for side in range(4):
            box[side] = before[slot, side] if len(before) > 0 else np.nan
