"""One query's list rescored in one call: spans, walk, fusion, order, boxes of what is wanted."""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Any

import numpy as np

from patchrerank.kernels._places import fill_part_spans, locate
from patchrerank.kernels._row_walks import walk_slots
from patchrerank.kernels._tiles import prefetch
from patchrerank.kernels.jit import compiled, entry_of
from patchrerank.kernels.resorting import Tables, move_tables, write_order
from patchrerank.kernels.segments import Rowwise, Segments, places_of
from patchrerank.kernels.stores import Float16Store, Float32Store, Int8Store, layout
from patchrerank.types import Floats, Rows

Parts = tuple[Rows, Rows]

CLOSER, DONE, FALLING = range(3)  # what a call answers
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
    exact = np.empty(size, np.float64)
    for slot in range(size):
        winners[slot] += begins[slot] if winners[slot] >= 0 else 0
        exact[slot] = fused(before[1][slot], local[slot], lam, gamma)
    write_order(rows, local, lam == 0 and gamma > 0, exact, order)
    best, boxes_at = np.full(len(order), -1), np.zeros(len(order), np.int64)
    for place in range(min(size, len(order))):
        best[place] = winners[order[place]]
    boxed = len(box_places[1]) > 0
    if boxed and locate(best, box_places[0], box_places[1], 16, boxes_at, 0) >= 0:
        return CLOSER
    return FALLING if move_tables(order, before, exact, local, boxes_at, after) else DONE


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
