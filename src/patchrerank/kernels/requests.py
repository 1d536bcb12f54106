"""Lists rescored in one call: spans, walk, fusion, order, boxes of what is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from patchrerank.kernels._requests import CLOSER, FALLING, rerank_list, rerank_lists
from patchrerank.kernels.code_stores import NONE
from patchrerank.kernels.jit import entry_of
from patchrerank.kernels.resorting import Flags, Tables
from patchrerank.kernels.row_walkers import walkers_of
from patchrerank.kernels.segments import Rowwise, Segments, places_of
from patchrerank.kernels.stores import Float16Store, Float32Store, Int8Store
from patchrerank.types import Floats, Rows

Places: TypeAlias = tuple[Rows, Tables, bool]
"""First places of a list: the slot that each is taken from, their tables, and whether their scores
carry that order as they are."""


class PatchRequests:
    """Reranks lists by their best patches; what does not change is prepared once.

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
        spans = (*places_of(ends), np.array([0, len(store)]))
        if isinstance(ends, Segments):
            spans = ends.end_places
        (tag, *how), places, scale_places = store.held
        self._kept, self._stored = (store, ends, boxes), tag.dtype
        self._held = (*how, spans, places, scale_places)
        self._box_places = NONE if boxes is None else places_of(boxes)
        self._rerank: Callable[..., int] | None = None
        self._rerank_all: Callable[..., int] | None = None

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
        walkers = walkers_of(self._stored, False)
        asked = (walkers, *self._held, query, size, before, *how, order, after)
        if self._rerank is None:
            self._rerank = entry_of(rerank_list, asked)
        answer = self._rerank(*asked)
        return None if answer == CLOSER else (order, after, answer == FALLING)

    def rerank_all(
        self, queries: Floats, before: Tables, firsts: Rows, lam: float, gamma: float, size: int
    ) -> tuple[Rows, Tables, Flags] | None:
        """Return the same of several lists; what more than one of them wants is read once.

        Of a list of which fewer places are wanted than of another, those behind hold anything.

        Args:
            queries: float32 ``(Q, d)``, as there.
            before: tables ``(Q, K)``, boxes ``(Q, K, 4)``; empty slots (row -1) at the end.
            firsts: int64 ``(Q,)``, how many places of each are wanted, at most K.
            lam: as there.
            gamma: as there.
            size: how many candidates of a list are rescored, from 1 to K.
        """
        shape = len(queries), int(firsts.max())
        order, after, falls = np.empty(shape, np.int64), _tables(*shape), np.empty(shape[0], bool)
        how = (float(lam), float(gamma), self._box_places)
        walkers = walkers_of(self._stored, shape[0] > 1)
        asked = (walkers, *self._held, queries, size, before, *how, firsts, order, after, falls)
        if self._rerank_all is None:
            self._rerank_all = entry_of(rerank_lists, asked)
        if self._rerank_all(*asked) == CLOSER:
            return None
        return order, after, falls


def _tables(*shape: int) -> Tables:
    columns = np.empty((3, *shape), np.float32)
    boxes = np.empty((*shape, 4), np.float32)
    return np.empty(shape, np.int64), columns[0], columns[1], columns[2], boxes
