"""The border of the kernels: everything a caller can get wrong is found here, once a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from patchrerank.errors import QueryError, SettingError, ShortlistError
from patchrerank.kernels.segments import Segments, plain, spans_of
from patchrerank.types import EMPTY, Floats, Rows


@dataclass(frozen=True, eq=False)
class Spans:
    """Where the vectors of each shortlisted image lie: flat rows ``begins … begins + counts``.

    Attributes:
        rows: int64 ``(Q, K)`` image rows, ``-1`` for an empty slot.
        begins: int64 ``(Q, K)``, ``-1`` where there are no vectors.
        counts: int64 ``(Q, K)``, 0 for an empty slot and for an image without vectors.
    """

    rows: Rows
    begins: Rows
    counts: Rows


def in_place(array: npt.NDArray[Any], dtype: object) -> bool:
    """Tell an array that kernels may read as it is."""
    flags = array.flags
    return bool(array.dtype == dtype and flags.c_contiguous and flags.aligned)


def check_queries(queries: npt.ArrayLike, dim: int) -> Floats:
    """Return queries as C-contiguous float32 ``(Q, dim)``, all finite."""
    vectors: Floats = np.require(queries, dtype=np.float32, requirements=["C", "A"])
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise QueryError(f"queries need the shape (Q, {dim}) of this store, got {vectors.shape}")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        raise QueryError(f"query vector {bad[0]} holds NaN or infinite values; encode it again")
    return vectors


def _row_table(rows: npt.ArrayLike) -> Rows:
    """Return rows as C-contiguous int64 ``(Q, K)``."""
    table = np.asarray(rows)
    if table.ndim != 2 or (table.size and table.dtype.kind not in "iu"):
        raise ShortlistError(
            f"rows need integers of the shape (Q, K), got {table.dtype} {table.shape}"
        )
    return np.ascontiguousarray(table, dtype=np.int64)


def _refuse_row(table: Rows, images: int) -> NoReturn:
    query, slot = np.argwhere((table < EMPTY) | (table >= images))[0]
    raise ShortlistError(
        f"query {query}, slot {slot}: row {table[query, slot]} is not in a store of {images} "
        "images; use -1 for an empty slot"
    )


def check_spans(rows: npt.ArrayLike, ends: npt.ArrayLike | Segments, total: int) -> Spans:
    """Return where the vectors of each slot lie, after checking rows against ``ends``.

    Only the entries of ``ends`` that the shortlist touches are read, so the cost does not
    depend on the size of the gallery.

    Raises:
        ShortlistError: rows of the wrong shape or type, or outside the gallery.
        SettingError: ``ends`` is no cumulative count of ``total`` rows.
    """
    stops = ends if isinstance(ends, Segments) else _check_ends(ends, total)
    table = _row_table(rows)
    begins, counts, wrong = spans_of(table.reshape(-1), stops, total)
    if wrong >= 0:
        row = int(table.flat[wrong])
        if not EMPTY <= row < len(stops):
            _refuse_row(table, len(stops))
        raise SettingError(
            f"ends[{row}] = {stops[row]} is not between the end before it and {total}; ends must "
            "be the cumulative counts of the store's rows"
        )
    return Spans(table, begins.reshape(table.shape), counts.reshape(table.shape))


def check_threads(threads: int) -> int:
    """Return a thread count after checking that it is a whole number, at least 1."""
    if not isinstance(threads, (int, np.integer)) or threads < 1:
        raise SettingError(f"threads must be a whole number of at least 1, got {threads!r}")
    return int(threads)


def check_sets(query_ends: npt.ArrayLike, total: int) -> list[slice]:
    """Return the slice of each query's descriptors; every query needs at least one."""
    stops = _check_ends(query_ends, total, "query_ends")
    begins = np.concatenate([np.zeros(1, dtype=np.int64), stops[:-1]])[: len(stops)]
    empty = np.flatnonzero(stops <= begins)
    if empty.size:
        raise QueryError(f"query {empty[0]} has no descriptors; query_ends must rise")
    return [slice(int(begin), int(stop)) for begin, stop in zip(begins, stops, strict=True)]


def _check_ends(ends: npt.ArrayLike, total: int, name: str = "ends") -> npt.NDArray[Any]:
    stops = np.asarray(ends)
    if stops.ndim != 1 or (stops.size and stops.dtype != np.int64):
        raise SettingError(f"{name} needs int64 (N,), got {stops.dtype} {stops.shape}")
    last = int(stops[-1]) if stops.size else 0
    if last != total:
        raise SettingError(f"{name} stops at {last}, but there are {total} rows")
    return np.ascontiguousarray(stops)


def check_table(array: Any, dtype: npt.DTypeLike, name: str) -> Any:
    """Return a plain view of a C-contiguous ``(T, d >= 1)`` array of the right type.

    Raises:
        SettingError: it is none.
    """
    table = plain(array)
    if table.dtype != dtype or table.ndim != 2 or table.shape[1] == 0:
        raise SettingError(
            f"{name} needs {np.dtype(dtype).name} rows (T, d) with d >= 1, got "
            f"{table.dtype} {table.shape}"
        )
    if not isinstance(table, Segments) and not table.flags.c_contiguous:
        raise SettingError(f"{name} is not C-contiguous; pass np.ascontiguousarray of it")
    return table
