"""Shortlists answered by one compiled call, where all is as the kernels can read it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from patchrerank.kernels.checks import Spans, in_place
from patchrerank.kernels.code_stores import NONE, NOWHERE
from patchrerank.kernels.segments import Segments
from patchrerank.kernels.stores import TAGS, SingleStore
from patchrerank.types import Floats, Rows

Found: TypeAlias = tuple[Floats, Rows, Spans]


def answer_at_once(queries: Any, store: SingleStore, ends: Any, rows: Any) -> Found | None:
    """Return what ``patch_max`` does and where the rows lie, by one compiled call, or None.

    None: something is not as it must be, not ready to be read in place, lies in a part that is
    not open yet, or scores no number; the general way says what, or does what is needed.
    """
    if not (_plain(queries, np.float32, 2) and _plain(rows, np.int64, 2)):
        return None
    if len(queries) != len(rows) or queries.shape[1] != store.dim:
        return None
    stops, parts = ends, (NOWHERE, NOWHERE, NOWHERE)
    if type(ends) is Segments:
        stops, parts = NOWHERE, ends.end_places
    elif not _plain(ends, np.int64, 1) or len(ends) == 0:
        return None
    begins, counts = np.empty(rows.shape, np.int64), np.empty(rows.shape, np.int64)
    scores, patches = np.empty(rows.shape, np.float32), np.empty(rows.shape, np.int64)
    kind: Any = type(store)
    head, data, scales = store.held
    plain = kind in TAGS
    kernels, head = (_walkers(kind, len(queries) > 1), head[1:]) if plain else (_scanner(), head)
    asked = (kernels, *head, len(store), data, scales, stops, parts, queries, rows)
    if not _entry(plain)(*asked, (begins, counts), scores, patches):
        return None
    if not plain and not (scores < np.inf).all():
        return None
    return scores, patches, Spans(rows, begins, counts)


def _plain(array: Any, dtype: Any, axes: int) -> bool:
    """Tell an array that compiled code can read as it is."""
    return type(array) is np.ndarray and array.ndim == axes and in_place(array, dtype)


@cache
def _walkers(kind: type, several: bool) -> tuple[int, int]:
    from patchrerank.kernels.row_walkers import walkers_of

    return walkers_of(TAGS[kind].dtype, several)


@cache
def _scanner() -> int:
    from patchrerank.kernels._code_answers import scan_at

    return scan_at()


@cache
def _entry(plain: bool) -> Callable[..., bool]:
    """Return the compiled call for stores of rows or of codes, for arrays that may be written."""
    from patchrerank.kernels import _code_answers, _row_answers
    from patchrerank.kernels.jit import entry_of

    flat, table = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64)
    head: tuple[Any, ...] = (1, np.zeros((1, 1, 1), np.float32), (False, 8, 1))
    if plain:
        head = (1, 1), 1, False
    spans = (NOWHERE, (NOWHERE, NOWHERE, NOWHERE))
    asked = (*head, 1, NONE, NONE, *spans, flat, table, (table, table), flat, table)
    return entry_of(_row_answers.answer if plain else _code_answers.answer, asked)
