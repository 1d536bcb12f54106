"""``patch_max``: the best patch of every shortlisted image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import QueryError, SettingError
from patchrerank.kernels.answers import answer_at_once
from patchrerank.kernels.checks import Spans, check_queries, check_spans, check_threads
from patchrerank.kernels.code_stores import PQStore, RabitqStore
from patchrerank.kernels.code_tables import scanner
from patchrerank.kernels.segments import Segments, plain
from patchrerank.kernels.stores import (
    Float16Store,
    Float32Store,
    Int8Store,
    Places,
    RescoredStore,
    Store,
    layout,
    row_places,
)
from patchrerank.kernels.threads import parts_of, run_parts
from patchrerank.types import EMPTY, Floats, Rows

Answer = tuple[Floats, Rows]


def patch_max(
    queries: npt.ArrayLike,
    store: Store,
    ends: npt.ArrayLike | Segments,
    rows: npt.ArrayLike,
    *,
    threads: int = 1,
    device: str = "cpu",
) -> Answer:
    """Return each candidate's best patch: the maximal inner product with the query, and where.

    This is the local similarity of Patchify (max over the patches of a gallery image). The
    store is read in place, also when it is memory-mapped. On the CPU the result does not
    depend on ``threads``, nor on which queries come together in a call, bit for bit.

    Args:
        queries: float32 ``(Q, d)``, finite.
        store: the patch vectors of the gallery, ``T`` rows, free of NaN. Of a ``RescoredStore``
            the best candidates by codes get exactly the scores of its finer rows; the others
            stay behind them, in the order of their codes' scores.
        ends: int64 ``(N,)`` cumulative patch counts: image n owns the rows
            ``ends[n-1] … ends[n]``; images without patches are allowed; ``ends[-1] == T``.
        rows: int64 ``(Q, K)`` image rows of each query's shortlist, ``-1`` for an empty slot.
        threads: how many threads share the work on the CPU.
        device: ``cpu`` for the compiled kernels; anything that torch knows (``cuda``, ``cuda:1``)
            runs there; ``torch:cpu`` runs the torch code on the CPU. Only the rows of
            shortlisted images travel to the device, once each a call.

    Returns:
        ``scores`` float32 ``(Q, K)``, higher is better, ``-inf`` for empty slots and images
        without patches; ``patches`` int64 ``(Q, K)``, the winner's number within its image, of
        equals the lowest, ``-1`` for none.

    Raises:
        QueryError: queries of the wrong shape, or not finite; products with codes (of ``PQStore``
            and ``RabitqStore``) that float32 cannot hold.
        ShortlistError: rows outside the gallery, or of the wrong shape.
        SettingError: ``ends`` does not fit the store, unknown store, device or thread count.
    """
    scores, patches, _ = _answer(queries, store, ends, rows, threads, device)
    return scores, patches


def best_rows(
    queries: npt.ArrayLike,
    store: Store,
    ends: npt.ArrayLike | Segments,
    rows: npt.ArrayLike,
    *,
    threads: int = 1,
) -> Answer:
    """Return what :func:`patch_max` does, with each winner's row in the store, ``-1`` for none."""
    scores, patches, spans = _answer(queries, store, ends, rows, threads, "cpu")
    return scores, np.where(patches >= 0, spans.begins + patches, EMPTY)


def _answer(
    queries: npt.ArrayLike,
    store: Store,
    ends: npt.ArrayLike | Segments,
    rows: npt.ArrayLike,
    threads: int,
    device: str,
) -> tuple[Floats, Rows, Spans]:
    if isinstance(store, RescoredStore):
        return _rescored(queries, store, ends, rows, threads, device)
    if type(store) in _KERNELS and threads == 1 and device == "cpu":
        answered = answer_at_once(queries, store, ends, rows)
        if answered is not None:
            return answered
    score = _KERNELS.get(type(store))
    if score is None:
        known = ", ".join(kind.__name__ for kind in (*_KERNELS, RescoredStore))
        raise SettingError(f"{type(store).__name__} is no store; use one of {known}")
    vectors = check_queries(queries, store.dim)
    spans = check_spans(rows, ends, len(store))
    if len(spans.rows) != len(vectors):
        raise SettingError(f"{len(vectors)} queries but {len(spans.rows)} shortlists")
    workers = check_threads(threads)
    if device != "cpu":
        from patchrerank.kernels.copies import fetched
        from patchrerank.kernels.devices import open_device
        from patchrerank.kernels.held_rows import HeldRows
        from patchrerank.kernels.on_device import best_on_device

        held = HeldRows(store, plain(ends), open_device(device), memory=0)
        best = best_on_device(held, vectors, spans.rows)
        found, winners = fetched(held.device, best.scores, best.patches)
        return found, winners, spans
    scores = np.full(spans.rows.shape, -np.inf, dtype=np.float32)
    patches = np.full(spans.rows.shape, EMPTY, dtype=np.int64)
    if scores.size:
        score(vectors, store, spans, scores, patches, workers)
    return scores, patches, spans


def _rescored(
    queries: npt.ArrayLike,
    store: RescoredStore,
    ends: npt.ArrayLike | Segments,
    rows: npt.ArrayLike,
    threads: int,
    device: str,
) -> tuple[Floats, Rows, Spans]:
    """Score all candidates by codes, and the best of them again by exact rows."""
    how, best = (threads, device), store.rescore
    if best >= check_spans(rows, ends, len(store)).rows.shape[1]:
        return _answer(queries, store.exact, ends, rows, *how)
    scores, patches, spans = _answer(queries, store.codes, ends, rows, *how)
    slots = np.argsort(-scores, axis=1, kind="stable")
    again, others = slots[:, :best], slots[:, best:]
    chosen = np.take_along_axis(spans.rows, again, axis=1)
    fine, winners, _ = _answer(queries, store.exact, ends, chosen, *how)
    behind = _behind(np.take_along_axis(scores, others, axis=1), fine)
    np.put_along_axis(scores, others, behind, axis=1)
    np.put_along_axis(scores, again, fine, axis=1)
    np.put_along_axis(patches, again, winners, axis=1)
    return scores, patches, spans


def _behind(rough: Floats, fine: Floats) -> Floats:
    """Return scores by codes, falling, all lowered by as much as the first needs to lie behind."""
    worst = fine.min(axis=1, keepdims=True, initial=np.inf, where=np.isfinite(fine))
    below = np.nextafter(worst, np.float32(-np.inf))
    over = np.maximum(rough[:, :1] - below, 0)
    return np.asarray(np.minimum(rough - np.where(np.isfinite(over), over, 0), below))


def _walked(
    vectors: Floats, store: Any, spans: Spans, scores: Floats, patches: Rows, threads: int
) -> None:
    """Images wanted once are walked query by query, the others image by image."""
    from patchrerank.kernels.row_walkers import images_walker, slots_walker

    tag, stride, _ = layout(store)
    walk, share = slots_walker(tag.dtype), images_walker(tag.dtype)
    starts, scales, places = row_places(store, spans.begins)
    groups, members, alone = _group(spans, starts, scales, places)
    jobs: list[tuple[Any, ...]] = []
    for query, start, stop in _slots(alone, threads):
        here = (query, slice(start, stop))
        views = (starts[here], scales[here], places, alone[here], scores[here], patches[here])
        jobs.append((walk, stride, vectors[query], *views))
    run_parts(threads, _call, jobs)
    shares = [
        (share, stride, vectors, groups[start:stop], members, scores, patches)
        for start, stop in parts_of(len(groups), threads)
    ]
    run_parts(threads, _call, shares)


def _codes(
    vectors: Floats, store: Any, spans: Spans, scores: Floats, patches: Rows, threads: int
) -> None:
    """Codes are small: the look-ups cost more than reading them, so nothing is shared."""
    starts, scales, places = row_places(store, spans.begins)
    scan = scanner(store, vectors)

    def answer(query: int, start: int, stop: int) -> None:
        here = (query, slice(start, stop))
        where = (starts[here], scales[here], places, spans.counts[here])
        scan(query, where, (scores[here], patches[here]))

    run_parts(threads, answer, _slots(spans.counts, threads))
    _refuse_beyond(scores)


def _refuse_beyond(scores: Floats) -> None:
    """Refuse what look-up tables hold no numbers of: they are of whole numbers, scaled."""
    beyond = np.flatnonzero(~(scores < np.inf).all(axis=1))
    if beyond.size:
        raise QueryError(
            f"query vector {beyond[0]} has products with the store's codes that are beyond "
            "float32; give vectors of unit norm, queries and rows"
        )


def _group(spans: Spans, starts: Rows, scales: Rows, places: Places) -> tuple[Rows, Rows, Rows]:
    """Return images wanted more than once, who wants them, and the counts of all other slots."""
    from patchrerank.kernels._shared_images import group_slots

    lists, width = spans.rows.shape
    alone, tables = spans.counts.copy(), (spans.rows, starts, scales)
    rows, begins, steps = (np.ascontiguousarray(table).reshape(-1) for table in tables)
    if lists < 2:
        rows = begins = steps = rows[:0]
    images, members = group_slots(width, rows, begins, steps, alone.reshape(-1))
    images[:, :2] = images[:, :2] * places[1::2] + places[::2]
    return images, members, alone


def _slots(counts: Rows, threads: int) -> list[tuple[int, int, int]]:
    """Return (query, first slot, past the last slot): enough jobs for all threads."""
    queries, width = counts.shape
    pieces = parts_of(width, -(-threads // max(queries, 1)))
    return [(query, start, stop) for query in range(queries) for start, stop in pieces]


def _call(kernel: Callable[..., None], *arguments: Any) -> None:
    kernel(*arguments)


_KERNELS: dict[type, Callable[..., None]] = {
    Float32Store: _walked,
    Float16Store: _walked,
    Int8Store: _walked,
    PQStore: _codes,
    RabitqStore: _codes,
}
