"""One query's list rescored in one call: spans, walk, fusion, order, boxes of what is wanted."""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Any, TypeAlias

import numpy as np

from patchrerank.kernels._places import fill_part_spans, locate
from patchrerank.kernels._row_walks import walk_slots
from patchrerank.kernels._tiles import prefetch
from patchrerank.kernels.jit import compiled, entry_of
from patchrerank.kernels.resorting import Tables, move_tables, write_order
from patchrerank.kernels.segments import Rowwise, Segments, places_of
from patchrerank.kernels.stores import Float16Store, Float32Store, Int8Store, layout
from patchrerank.types import Floats, Rows

Parts: TypeAlias = tuple[Rows, Rows]
Places: TypeAlias = tuple[Rows, Tables, bool]
"""First places of a list: the slot that each is taken from, their tables, and whether their scores
carry that order as they are."""

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
        )
        self._box_places = none if boxes is None else places_of(boxes)
        self._rerank: Callable[..., int] | None = None
        self._finish: Callable[..., int] | None = None

    def rerank(
        self,
        query: Floats,
        before: Tables,
        first: int,
        lam: float,
        gamma: float,
        size: int,
    ) -> Places | None:
        """Return the first places of a list that is scored, fused and sorted, or None.

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
        how = (float(lam), float(gamma), self._box_places)
        asked = (*self._held, query, size, before, *how, order, after)
        if self._rerank is None:
            self._rerank = entry_of(_rerank, asked)
        answer = self._rerank(*asked)
        return None if answer == CLOSER else (order, after, answer == FALLING)

    def finish(
        self, before: Tables, local: Floats, winners: Rows, first: int, lam: float, gamma: float
    ) -> Places | None:
        """Return the same of a list whose head is scored already; see :meth:`rerank`.

        Args:
            before: as there.
            local: float32 ``(size,)``, C-contiguous.
            winners: int64 ``(size,)``, the row of the best patch; -1 for none.
            first: as there.
            lam: as there.
            gamma: as there.
        """
        order, after = np.empty(first, np.int64), _tables(first)
        how = (float(lam), float(gamma), self._box_places)
        asked = (before, local, winners, *how, order, after)
        if self._finish is None:
            self._finish = entry_of(_finish, asked)
        answer = self._finish(*asked)
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
    query: Floats,
    size: int,
    before: Tables,
    lam: float,
    gamma: float,
    box_places: Parts,
    order: Rows,
    after: Tables,
) -> Any:
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
    for slot in range(size):
        winners[slot] += begins[slot] if winners[slot] >= 0 else 0
    return _finish(before, local, winners, lam, gamma, box_places, order, after)


@compiled
def _finish(
    before: Tables,
    local: Floats,
    winners: Rows,
    lam: float,
    gamma: float,
    box_places: Parts,
    order: Rows,
    after: Tables,
) -> Any:
    """Fuse, sort and write the first places; see :meth:`PatchRequests.finish`."""
    size = len(local)
    exact = np.empty(size, np.float64)
    for slot in range(size):
        exact[slot] = fused(before[1][slot], local[slot], lam, gamma)
    write_order(before[0], local, lam == 0 and gamma > 0, exact, order)
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
