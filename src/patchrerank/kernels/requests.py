"""One query's list rescored in one call: spans, walk, fusion, order, boxes of what is wanted."""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._places import copy_bytes, fill_part_spans, locate
from patchrerank.kernels._row_walks import walk_slots
from patchrerank.kernels._tiles import prefetch
from patchrerank.kernels.jit import compiled, entry_of
from patchrerank.kernels.segments import Rowwise, Segments, places_of
from patchrerank.kernels.stores import Float16Store, Float32Store, Int8Store, layout
from patchrerank.types import Floats, Rows

Doubles = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Parts = tuple[Rows, Rows]
Tables = tuple[Rows, Floats, Floats, Floats, Floats]

CLOSER, DONE, FALLING = range(3)  # what a call answers
ORDINARY = 1e-30, 1e30
"""Sizes of scores that carry an order as they are (:mod:`patchrerank.hit_scores`)."""

NOWHERE: Rows = np.zeros(0, dtype=np.int64)


class PatchRequests:
    """Reranks single lists by their best patches; what does not change is prepared once.

    Args:
        store: the patch vectors, T rows; they may lie in parts, as all that follows.
        ends: int64 ``(N,)``, cumulative patch counts.
        boxes: float32 ``(T, 4)``, C-contiguous; None: there are none.
    """

    def __init__(
        self,
        store: Float32Store | Float16Store | Int8Store,
        ends: Rowwise,
        boxes: Rowwise | None,
    ) -> None:
        data = store.codes if isinstance(store, Int8Store) else store.data
        scales = store.scales if isinstance(store, Int8Store) else None
        vectors = np.array([0, len(store)])
        if isinstance(ends, Segments) and ends.shifts is not None:
            vectors = ends.shifts
        none = (NOWHERE, NOWHERE)
        self._kept = data, scales, ends, boxes
        self._held = (
            *layout(store),
            (*places_of(ends), vectors),
            places_of(data),
            none if scales is None else places_of(scales),
            none if boxes is None else places_of(boxes),
        )
        self._entry: Callable[..., int] | None = None

    def rerank(
        self,
        query: Floats,
        before: Tables,
        first: int,
        lam: float,
        gamma: float,
        size: int,
    ) -> tuple[Rows, Tables, bool] | None:
        """Return the first places of a list that was rescored, or None.

        None: a row that is none of the gallery's, or whose part is not open yet.

        Args:
            query: float32 ``(d,)``, finite, C-contiguous and aligned.
            before: rows int64 ``(K,)`` and the scores that are fused, global and local scores
                float32 ``(K,)`` and boxes ``(K, 4)``; the last two may be empty: they are NaN.
            first: how many places are wanted, at most K.
            lam: λ of the fusion.
            gamma: its γ.
            size: how many candidates are rescored, from 1 to K.

        Returns:
            Which slot each place is taken from, int64 ``(first,)``; the tables in the new order;
            and whether their scores carry that order as they are.
        """
        order, after = np.empty(first, np.int64), _tables(first)
        asked = (query, float(lam), float(gamma), size, before, order, after)
        if self._entry is None:
            self._entry = entry_of(_rerank, (*self._held, *asked))
        answer = self._entry(*self._held, *asked)
        return None if answer == CLOSER else (order, after, answer == FALLING)


def _tables(count: int) -> Tables:
    columns = np.empty((3, count), np.float32)
    boxes = np.empty((count, 4), np.float32)
    return np.empty(count, np.int64), columns[0], columns[1], columns[2], boxes


@compiled
def _rerank(
    tag: np.generic,
    stride: int,
    scaled: bool,
    spans: tuple[Rows, Rows, Rows],
    places: Parts,
    scale_places: Parts,
    box_places: Parts,
    query: Floats,
    lam: float,
    gamma: float,
    size: int,
    before: Tables,
    order: Rows,
    after: Tables,
) -> int:
    """Write the first places of the list; see :meth:`PatchRequests.rerank`."""
    rows = before[0][:size]
    begins, counts = np.empty(size, np.int64), np.empty(size, np.int64)
    _ask_for_ends(rows, spans[0], spans[1])
    if fill_part_spans(rows, spans[0], spans[1], spans[2], begins, counts, 0) >= 0:
        return CLOSER
    starts = np.empty(size, np.int64)
    if locate(begins, places[0], places[1], stride, starts, 0) >= 0:
        return CLOSER
    scales = np.empty(size if scaled else 0, np.int64)
    if scaled and locate(begins, scale_places[0], scale_places[1], 4, scales, 0) >= 0:
        return CLOSER
    local, winners = np.empty(size, np.float32), np.empty(size, np.int64)
    steps = scales if scaled else starts
    walk_slots(tag, stride, scaled, query, starts, steps, (0, 1, 0, 1), counts, local, winners)
    exact, keys = np.empty(size, np.float64), np.empty(size, np.float64)
    for slot in range(size):
        winners[slot] += begins[slot] if winners[slot] >= 0 else 0
        exact[slot] = fused(before[1][slot], local[slot], lam, gamma)
        by_local = lam == 0 and gamma > 0
        value = np.float64(local[slot]) if by_local else exact[slot]
        if rows[slot] == -1:
            exact[slot] = value = -np.inf
        keys[slot] = -value + 0.0
    head, bits = np.empty(size, np.int64), keys.view(np.uint64)
    _rising(bits)
    _sort(bits, head)
    for place in range(len(order)):
        order[place] = head[place] if place < size else place
    return _write(order, before, exact, local, winners, box_places, after)


@compiled
def _ask_for_ends(rows: Rows, starts: Rows, at: Rows) -> None:
    """Ask for the ends of images in one part, since each look at them misses caches."""
    if len(at) == 1 and at[0] != 0:
        for row in rows:
            if 0 <= row < starts[1]:
                prefetch(at[0] + 8 * row)


@compiled
def fused(score: Any, local: Any, lam: float, gamma: float) -> Any:
    """Return λ·g + (1−λ)·σ(γ·l) in float64, as :func:`patchrerank.fusion.fuse` does."""
    sigmoid = 1.0 / (1.0 + exp(-(gamma * np.float64(local)))) if gamma > 0 else 0.5
    first = lam * np.float64(score) if lam > 0 else 0.0
    second = (1.0 - lam) * sigmoid if lam < 1 else 0.0
    return first + second


@compiled
def _rising(bits: Keys) -> None:
    """Turn the bits of float64, none of them -0, into numbers that rise with them."""
    top = np.uint64(1) << np.uint64(63)
    for slot in range(len(bits)):
        bits[slot] = ~bits[slot] if bits[slot] & top else bits[slot] | top


@compiled
def _sort(keys: Keys, order: Rows) -> None:
    """Write where keys ``(n,)`` stand, ascending, equals as they come: a byte at a time."""
    count = len(keys)
    found = np.zeros((8, 256), np.int64)
    for slot in range(count):
        order[slot] = slot
        for byte in range(8):
            found[byte, (keys[slot] >> np.uint64(8 * byte)) & np.uint64(255)] += 1
    other = np.empty(count, np.int64)
    for byte in range(8):
        shift, counts = np.uint64(8 * byte), found[byte]
        if counts[(keys[0] >> shift) & np.uint64(255)] == count:
            continue
        total = 0
        for digit in range(256):
            counts[digit], total = total, total + counts[digit]
        for place in range(count):
            digit = (keys[order[place]] >> shift) & np.uint64(255)
            other[counts[digit]] = order[place]
            counts[digit] += 1
        order[:] = other


@compiled
def _write(
    order: Rows,
    before: Tables,
    exact: Doubles,
    local: Floats,
    winners: Rows,
    box_places: Parts,
    after: Tables,
) -> int:
    """Write the tables in their order; return whether the scores fall strictly."""
    boxes_at = np.zeros(len(order), np.int64)
    if len(box_places[1]) > 0:
        best = np.empty(len(order), np.int64)
        for place, slot in enumerate(order):
            best[place] = winners[slot] if slot < len(exact) else -1
        if locate(best, box_places[0], box_places[1], 16, boxes_at, 0) >= 0:
            return CLOSER
        for place in range(len(order)):
            if boxes_at[place] != 0:
                prefetch(boxes_at[place])
    answer = FALLING
    for place, slot in enumerate(order):
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
        if not ordinary or (place > 0 and not value < after[1][place - 1]):
            answer = DONE
    return answer


@compiled
def _write_box(at: Any, before: Floats, slot: Any, box: Floats) -> None:
    """Write the box at an address; where it is not known, that of before."""
    box[:] = np.nan
    if at != 0:
        copy_bytes(at, box.ctypes.data, 16)
    if np.isnan(box[0]) or np.isnan(box[1]) or np.isnan(box[2]) or np.isnan(box[3]):
        for side in range(4):
            box[side] = before[slot, side] if len(before) > 0 else np.nan
