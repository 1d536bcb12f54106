"""``chamfer``: how well each query descriptor is matched by a candidate's descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
from patchrerank.kernels.set_comparison import (
    SetStore,
    compare_floats,
    compare_int8,
    has_int8,
)
from patchrerank.kernels.stores import (
    Float16Store,
    Float32Store,
    Int8Store,
)
from patchrerank.types import Floats, Rows

Reduce = Literal["mean", "sum"]


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
        best, _ = compare_floats(vectors[owned], store, begins, counts, workers)
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
    best, where = compare_floats(vectors, store, begins, counts, check_threads(threads))
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
    (AVX-512, AVX2, ARM's ``sdot``; coarser without VNNI and ``sdot``); elsewhere, where it would
    gain nothing, all candidates are scored by ``exact``. The ``rescore`` best candidates of each
    query then get exactly the score that :func:`chamfer` gives them with ``exact``; the others
    keep the approximate one, lowered to the worst exact score where it lies above, so that nobody
    overtakes a rescored candidate by a rounding error.

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
        if not has_int8(store.dim):
            best, _ = compare_floats(vectors[owned], exact, begins, counts, workers)
            scores[query] = _reduced(best, reduce)
            continue
        rough = _reduced(compare_int8(vectors[owned], store, begins, counts, workers), reduce)
        top = np.argsort(-rough, kind="stable")[:rescore]
        best, _ = compare_floats(vectors[owned], exact, begins[top], counts[top], workers)
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
