"""Compiled answers of float32, float16 and int8 rows: from queries and rows to scores, in one call.

``walkers`` are addresses of what walks them; what ``stride`` and ``scaled`` mean: see
``_row_walks``.
"""

from __future__ import annotations

from patchrerank.kernels._found_rows import Ends, Parts, find_rows, finite
from patchrerank.kernels._shared_images import group_slots
from patchrerank.kernels.jit import compiled, compiled_inside
from patchrerank.kernels.row_walkers import Walkers, call_images, call_slots
from patchrerank.types import Floats, Rows

HERE = 0, 1, 0, 1  # places that are addresses already


@compiled_inside
def score_lists(
    walkers: Walkers,
    stride: int,
    queries: Floats,
    rows: Rows,
    starts: Rows,
    steps: Rows,
    counts: Rows,
    scores: Floats,
    patches: Rows,
) -> None:
    """Score the slots ``(Q, K)``; an image that several lists want is read once for all of them.

    ``rows`` ``(Q * K,)``, and what follows it: where their first patch and its scale lie, and how
    many patches there are. ``scores`` and ``patches`` are written.
    """
    lists, width = scores.shape
    if lists == 1:
        where = (starts, steps, HERE, counts)
        call_slots(walkers[0], (stride, queries[0], *where, scores[0], patches[0]))
        return
    alone = counts.copy()
    images, members = group_slots(width, rows, starts, steps, alone)
    for query in range(lists):
        own = slice(query * width, query * width + width)
        where = (starts[own], steps[own], HERE, alone[own])
        call_slots(walkers[0], (stride, queries[query], *where, scores[query], patches[query]))
    if len(images) > 0:
        call_images(walkers[1], (stride, queries, images, members, scores, patches))


@compiled
def answer(
    walkers: Walkers,
    stride: int,
    scaled: bool,
    total: int,
    places: Parts,
    scale_places: Parts,
    ends: Rows,
    end_places: Ends,
    queries: Floats,
    rows: Rows,
    spans: tuple[Rows, Rows],
    scores: Floats,
    patches: Rows,
) -> bool:
    """Answer shortlists ``(Q, K)``, or return False; see ``_code_answers.answer``."""
    flat, begins, counts = rows.reshape(-1), spans[0].reshape(-1), spans[1].reshape(-1)
    if not finite(queries):
        return False
    held = (total, ends, end_places, stride, places, scaled, scale_places)
    found, starts, steps = find_rows(flat, *held, begins, counts)
    if found:
        score_lists(walkers, stride, queries, flat, starts, steps, counts, scores, patches)
    return bool(found)
