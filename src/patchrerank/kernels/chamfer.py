"""``chamfer``: how well each query descriptor is matched by a candidate's descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.kernels.checks import (
    Spans,
    check_queries,
    check_sets,
    check_spans,
    check_threads,
)
from patchrerank.kernels.segments import Segments
from patchrerank.kernels.stores import (
    Float16Store,
    Float32Store,
    Int8Store,
    layout,
    quantise_int8,
    row_places,
)
from patchrerank.kernels.threads import parts_of, run_parts
from patchrerank.types import Floats, Rows

Reduce = Literal["mean", "sum"]
SetStore = Float32Store | Float16Store | Int8Store
INT8_DIMS = 32_768
"""Up to here the sums of int8 products fit 32 bits."""


@dataclass(frozen=True, eq=False)
class Matches:
    """The best match of each query descriptor in each candidate.

    Attributes:
        scores: float32 ``(K, n)`` best inner product, ``-inf`` where the candidate has nothing.
        descriptors: int64 ``(K, n)`` its number within the candidate, of equals the lowest;
            ``-1`` for none.
    """

    scores: Floats
    descriptors: Rows


def chamfer(
    queries: npt.ArrayLike,
    query_ends: npt.ArrayLike,
    store: SetStore,
    ends: npt.ArrayLike | Segments,
    rows: npt.ArrayLike,
    *,
    reduce: Reduce = "mean",
    threads: int = 1,
) -> Floats:
    """Return the Chamfer similarity of query sets and the descriptor sets of candidates.

    For each query descriptor the maximal inner product over the candidate's descriptors; then
    their mean over the query's descriptors, in [-1, 1] for unit vectors, or their sum (the
    MaxSim of late interaction, which grows with the number of query descriptors). Summed in
    float64. The result does not depend on ``threads``, bit for bit.

    Args:
        queries: float32 ``(n_1 + n_2 + …, d)``: the descriptors of all queries, finite.
        query_ends: int64 ``(Q,)`` cumulative counts: query i owns the rows
            ``query_ends[i-1] … query_ends[i]``, at least one.
        store: the descriptors of the gallery, ``T`` rows, free of NaN.
        ends: int64 ``(N,)`` cumulative counts of the gallery's images; ``ends[-1] == T``.
        rows: int64 ``(Q, K)`` candidates, ``-1`` for an empty slot.
        reduce: ``mean`` or ``sum``.
        threads: how many threads share the candidates.

    Returns:
        float32 ``(Q, K)``, higher is better, ``-inf`` for empty slots and empty images.

    Raises:
        QueryError: queries of the wrong shape, not finite, or a query without descriptors.
        ShortlistError: rows outside the gallery, or of the wrong shape.
        SettingError: counts that do not fit, an unknown store or reduction, a bad thread count.
    """
    vectors, sets, spans = _check(queries, query_ends, store, ends, rows, reduce)
    workers = check_threads(threads)
    scores = np.full(spans.rows.shape, -np.inf, dtype=np.float32)
    for query, owned in enumerate(sets):
        begins, counts = spans.begins[query], spans.counts[query]
        best, _ = _compare(vectors[owned], store, begins, counts, workers)
        scores[query] = _reduced(best, reduce)
    return scores


def chamfer_matches(
    queries: npt.ArrayLike,
    store: SetStore,
    ends: npt.ArrayLike | Segments,
    rows: npt.ArrayLike,
    *,
    threads: int = 1,
) -> Matches:
    """Return the best match of each descriptor ``(n, d)`` of one query in candidates ``(K,)``.

    Arguments and errors are those of :func:`chamfer`, for one query.
    """
    count = len(np.asarray(queries))
    shortlist = np.asarray(rows)[None]
    vectors, _, spans = _check(queries, np.array([count]), store, ends, shortlist, "mean")
    begins, counts = spans.begins[0], spans.counts[0]
    best, where = _compare(vectors, store, begins, counts, check_threads(threads))
    return Matches(np.ascontiguousarray(best), where.astype(np.int64))


def chamfer_rescored(
    queries: npt.ArrayLike,
    query_ends: npt.ArrayLike,
    store: Int8Store,
    exact: Float32Store | Float16Store,
    ends: npt.ArrayLike | Segments,
    rows: npt.ArrayLike,
    *,
    reduce: Reduce = "mean",
    rescore: int = 40,
    threads: int = 1,
) -> Floats:
    """Return the Chamfer similarity from int8 rows, and from exact rows for the best candidates.

    The first pass quantises the query to int8 as well where the processor multiplies bytes
    (AVX-512 VNNI; elsewhere it is :func:`chamfer` on the int8 store). The ``rescore`` best
    candidates of each query then get exactly the score that :func:`chamfer` gives them with
    ``exact``; the others keep the approximate one, lowered to the worst exact score where it
    lies above, so that nobody overtakes a rescored candidate by a rounding error.

    Arguments beyond those of :func:`chamfer`:
        exact: the same rows unquantised.
        rescore: how many candidates a query, at least 0.
    """
    if not isinstance(store, Int8Store):
        raise SettingError(f"store must be an Int8Store, got {type(store).__name__}")
    vectors, sets, spans = _check(queries, query_ends, exact, ends, rows, reduce)
    if len(store) != len(exact) or store.dim != exact.dim:
        raise SettingError(
            f"store holds {len(store)} rows of {store.dim} dimensions, exact {len(exact)} of "
            f"{exact.dim}; both must hold the same rows"
        )
    if rescore < 0:
        raise SettingError(f"rescore must be at least 0, got {rescore}")
    workers = check_threads(threads)
    scores = np.full(spans.rows.shape, -np.inf, dtype=np.float32)
    for query, owned in enumerate(sets):
        begins, counts = spans.begins[query], spans.counts[query]
        rough = _reduced(_compare_int8(vectors[owned], store, begins, counts, workers), reduce)
        top = np.argsort(-rough, kind="stable")[:rescore]
        best, _ = _compare(vectors[owned], exact, begins[top], counts[top], workers)
        fine = _reduced(best, reduce)
        scores[query] = np.minimum(rough, fine.min(initial=np.inf))
        scores[query, top] = fine
    return scores


def _check(
    queries: npt.ArrayLike,
    query_ends: npt.ArrayLike,
    store: SetStore,
    ends: npt.ArrayLike | Segments,
    rows: npt.ArrayLike,
    reduce: str,
) -> tuple[Floats, list[slice], Spans]:
    if not isinstance(store, SetStore):
        raise SettingError(
            f"{type(store).__name__} is no store of descriptors; use Float32Store, Float16Store "
            "or Int8Store (decode product-quantised rows first)"
        )
    if reduce not in ("mean", "sum"):
        raise SettingError(f"reduce must be 'mean' or 'sum', got {reduce!r}")
    vectors = check_queries(queries, store.dim)
    sets = check_sets(query_ends, len(vectors))
    spans = check_spans(rows, ends, len(store))
    if len(spans.rows) != len(sets):
        raise SettingError(f"{len(sets)} query sets but {len(spans.rows)} shortlists")
    return vectors, sets, spans


def _reduced(best: Floats, reduce: str) -> Floats:
    totals = best.sum(axis=1, dtype=np.float64)
    values = totals / best.shape[1] if reduce == "mean" else totals
    return np.asarray(values, dtype=np.float32)


def _compare(
    query: Floats, store: SetStore, begins: Rows, counts: Rows, threads: int
) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Return best value and its row number ``(K, n)`` of each query descriptor."""
    from patchrerank.kernels import _sets as kernels

    starts, scales, places = row_places(store, begins)
    packed, width = _pack(query, kernels.WIDTH, kernels.VECTORS)
    best = np.empty((len(counts), width), dtype=np.float32)
    where = np.empty((len(counts), width), dtype=np.int32)

    def compare(start: int, stop: int) -> None:
        part = slice(start, stop)
        slots = (starts[part], scales[part], places, counts[part])
        how = (*layout(store), packed, store.dim)
        kernels.compare_slots(*how, *slots, best[part], where[part])

    run_parts(threads, compare, parts_of(len(counts), threads))
    return best[:, : len(query)], where[:, : len(query)]


def _compare_int8(
    query: Floats, store: Int8Store, begins: Rows, counts: Rows, threads: int
) -> Floats:
    """Return the best value ``(K, n)`` of each query descriptor, from int8 products."""
    from patchrerank.kernels import _sets as kernels

    if not kernels.HAS_INT8 or store.dim % 4 or store.dim > INT8_DIMS:
        return _compare(query, store, begins, counts, threads)[0]
    starts, steps, places = row_places(store, begins)
    codes, scales = quantise_int8(query)
    quads = (codes.astype(np.int16) + kernels.BIAS).astype(np.uint8).view(np.int32)
    packed, width = _pack(quads, kernels.WIDTH, kernels.VECTORS)
    best = np.empty((len(counts), width), dtype=np.float32)
    where = np.empty((len(counts), width), dtype=np.int32)

    def compare(start: int, stop: int) -> None:
        part = slice(start, stop)
        slots = (starts[part], steps[part], places, counts[part])
        kernels.compare_int8_slots(packed, store.dim, *slots, best[part], where[part])

    run_parts(threads, compare, parts_of(len(counts), threads))
    return np.asarray(best[:, : len(query)] * scales)


def _pack(query: npt.NDArray[Any], lanes: int, vectors: int) -> tuple[npt.NDArray[Any], int]:
    """Return the query set in the kernels' order, and its count rounded up to whole vectors.

    Blocks of ``lanes * vectors`` descriptors (the last one may have fewer vectors); within a
    block one line of descriptors a dimension.
    """
    count, dim = query.shape
    width = -(-count // lanes) * lanes
    padded = np.zeros((width, dim), dtype=query.dtype)
    padded[:count] = query
    block = lanes * vectors
    lines = [padded[start : start + block].T.ravel() for start in range(0, width, block)]
    return np.concatenate(lines), width
