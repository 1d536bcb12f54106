"""Compiled requests: lists rescored in one call, with spans, walk, fusion, order and boxes.

``spans`` are where counts of patches lie and how many patches are before each part, ``places`` and
``scale_places`` where patches and scales do, ``box_places`` where boxes do; see ``_places``.
"""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np

from patchrerank.kernels._found_rows import Parts, find_rows
from patchrerank.kernels._places import locate
from patchrerank.kernels._row_answers import HERE, score_lists
from patchrerank.kernels.jit import compiled, compiled_inside
from patchrerank.kernels.resorting import Flags, Tables, move_tables, write_order
from patchrerank.kernels.row_walkers import Walkers, call_slots
from patchrerank.types import Floats, Rows

CLOSER, DONE, FALLING = range(3)  # what a call answers


@compiled
def rerank_list(
    walkers: Walkers,
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
    """Write the first places of the list; see ``PatchRequests.rerank``."""
    rows = before[0][:size]
    begins, counts = np.empty(size, np.int64), np.empty(size, np.int64)
    where = (0, spans[0][:0], spans, stride, places, scaled, scale_places)
    ready, starts, steps = find_rows(rows, *where, begins, counts)
    if not ready:
        return CLOSER
    local, winners = np.empty(size, np.float32), np.empty(size, np.int64)
    call_slots(walkers[0], (stride, query, starts, steps, HERE, counts, local, winners))
    return _finish(before, local, begins, winners, lam, gamma, box_places, order, after)


@compiled
def rerank_lists(
    walkers: Walkers,
    stride: int,
    scaled: bool,
    spans: tuple[Rows, Rows, Rows],
    places: Parts,
    scale_places: Parts,
    queries: Floats,
    size: int,
    before: Tables,
    lam: float,
    gamma: float,
    box_places: Parts,
    firsts: Rows,
    order: Rows,
    after: Tables,
    falls: Flags,
) -> Any:
    """Do the same for lists ``(Q, K)``; what several want is read once for all of them."""
    lists = len(queries)
    rows, local = np.empty((lists, size), np.int64), np.empty((lists, size), np.float32)
    begins, counts, winners = np.empty_like(rows), np.empty_like(rows), np.empty_like(rows)
    for query in range(lists):
        for slot in range(size):
            rows[query, slot] = before[0][query, slot]
    flat, own, held = rows.reshape(-1), begins.reshape(-1), counts.reshape(-1)
    where = (0, spans[0][:0], spans, stride, places, scaled, scale_places)
    ready, starts, steps = find_rows(flat, *where, own, held)
    if not ready:
        return CLOSER
    score_lists(walkers, stride, queries, flat, starts, steps, held, local, winners)
    for query in range(lists):
        one, first = _list_of(before, query, before[0].shape[1]), firsts[query]
        new = _list_of(after, query, first)
        found = (local[query], begins[query], winners[query])
        answer = _finish(one, *found, lam, gamma, box_places, order[query, :first], new)
        if answer == CLOSER:
            return CLOSER
        falls[query] = answer == FALLING
    return DONE


@compiled_inside
def _list_of(tables: Tables, query: int, first: int) -> Tables:
    """Return the first places of one list of tables."""
    rows, scores, before, local, boxes = tables
    head = rows[query, :first], scores[query, :first], before[query, :first]
    return (*head, local[query, :first], boxes[query, :first])


@compiled_inside
def _finish(
    before: Tables,
    local: Floats,
    begins: Rows,
    winners: Rows,
    lam: float,
    gamma: float,
    box_places: Parts,
    order: Rows,
    after: Tables,
) -> Any:
    """Fuse, sort and write the first places of a list whose head is scored."""
    size = len(local)
    exact = np.empty(size, np.float64)
    for slot in range(size):
        exact[slot] = fused(before[1][slot], local[slot], lam, gamma)
    write_order(before[0], local, lam == 0 and gamma > 0, exact, order)
    best, boxes_at = np.full(len(order), -1), np.zeros(len(order), np.int64)
    for place in range(min(size, len(order))):
        slot = order[place]
        best[place] = begins[slot] + winners[slot] if winners[slot] >= 0 else -1
    boxed = len(box_places[1]) > 0
    if boxed and locate(best, box_places[0], box_places[1], 16, boxes_at, 0) >= 0:
        return CLOSER
    return FALLING if move_tables(order, before, exact, local, boxes_at, after) else DONE


@compiled
def fused(score: Any, local: Any, lam: float, gamma: float) -> Any:
    """Return λ·g + (1−λ)·σ(γ·l) in float64, as :func:`patchrerank.fusion.fuse` does."""
    sigmoid = 1.0 / (1.0 + exp(-(gamma * np.float64(local)))) if gamma > 0 else 0.5
    first = lam * np.float64(score) if lam > 0 else 0.0
    second = (1.0 - lam) * sigmoid if lam < 1 else 0.0
    return first + second
