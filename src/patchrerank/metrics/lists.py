"""Ranked lists as marks on arrays, and the positives found in them.

``Q`` queries, ``R`` places a list, best first. A list is given by its marks, all bool ``(Q, R)``:
``relevant``, ``junk`` (removed before ranks are counted, wherever it stands; wins over relevant)
and ``valid`` (False in empty slots, ``rows == -1``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError, ShortlistError
from patchrerank.types import EMPTY

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FoundPositives:
    """The positives in a batch of lists, query after query, each in rank order; ``P`` in all.

    Attributes:
        query: int64 ``(P,)``, which list.
        slot: int64 ``(P,)``, the place in the flattened ``(Q, R)`` arrays.
        rank: int64 ``(P,)``, from 1, after junk and empty slots were removed.
        found: int64 ``(P,)``, how many positives of the list stand up to this rank, from 1.
    """

    query: Ints
    slot: Ints
    rank: Ints
    found: Ints

    def up_to(self, cutoff: int | None) -> FoundPositives:
        """Return the positives with a rank of at most ``cutoff`` (None: all)."""
        if cutoff is None:
            return self
        near = self.rank <= cutoff
        return FoundPositives(self.query[near], self.slot[near], self.rank[near], self.found[near])


@dataclass(frozen=True)
class RankedLists:
    """A checked batch of ranked lists; see the module for the marks.

    Attributes:
        relevant: bool ``(Q, R)``, False on junk and empty slots.
        counted: bool ``(Q, R)``, neither junk nor an empty slot; None if everything counts.
        lengths: int64 ``(Q,)``, slots that are filled, junk among them.
        n_positives: int64 ``(Q,)``, positives in the whole gallery, found or not.
    """

    relevant: Bools
    counted: Bools | None
    lengths: Ints
    n_positives: Ints

    def first_places(self, cutoff: int) -> RankedLists:
        """Return the lists cut to their first ``cutoff`` places, junk included."""
        inside = np.broadcast_to(np.arange(self.relevant.shape[1]) < cutoff, self.relevant.shape)
        counted = inside if self.counted is None else inside & self.counted
        lengths = np.minimum(self.lengths, cutoff)
        return RankedLists(self.relevant & inside, counted, lengths, self.n_positives)

    def positives(self) -> FoundPositives:
        """Return the positives found in all lists."""
        slot = np.flatnonzero(self.relevant)
        query, column = np.divmod(slot, max(self.relevant.shape[1], 1))
        per_query = np.bincount(query, minlength=len(self.relevant))
        first = np.cumsum(per_query) - per_query
        found = np.arange(1, len(slot) + 1) - first[query]
        if self.counted is None:
            return FoundPositives(query, slot, column + 1, found)
        rank = count_along(self.counted).reshape(-1)[slot]
        return FoundPositives(query, slot, rank, found)


def ranked_lists(
    relevant: npt.ArrayLike,
    n_positives: npt.ArrayLike,
    junk: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
) -> RankedLists:
    """Return checked lists.

    Raises:
        ShortlistError: an array has another shape than ``relevant`` ``(Q, R)``.
        SettingError: ``n_positives`` is negative, or smaller than what a list holds.
    """
    hits = np.asarray(relevant, dtype=np.bool_)
    if hits.ndim != 2:
        raise ShortlistError(f"relevant needs the shape (Q, R), got {hits.shape}")
    queries, width = hits.shape
    filled = None if valid is None else _marks("valid", valid, hits.shape)
    lengths = np.full(queries, width) if filled is None else filled.sum(axis=1)
    counted = filled
    if junk is not None:
        kept = ~_marks("junk", junk, hits.shape)
        counted = kept if filled is None else kept & filled
    if counted is not None and counted.all():
        counted = None
    if counted is not None:
        hits = hits & counted
    return RankedLists(hits, counted, lengths, _positive_counts(n_positives, hits))


def aligned(name: str, values: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.floating]:
    """Return ``values`` as a floating array of ``shape``; float32 stays float32.

    Raises:
        ShortlistError: the shape is another one; ``name`` says which array.
    """
    array = np.asarray(values)
    if array.shape != shape:
        raise ShortlistError(f"{name} has the shape {array.shape}, but the lists {shape}")
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


def count_along(marks: Bools) -> Ints:
    """Return how many marks of each list ``(Q, R)`` stand up to and including each place."""
    return np.cumsum(marks, axis=1, dtype=np.int64)


def membership(rows: npt.ArrayLike, members: Sequence[Iterable[int]]) -> Bools:
    """Return bool ``(Q, R)``: which of each query's rows are among that query's members.

    Args:
        rows: int ``(Q, R)`` gallery rows; ``-1`` (an empty slot) is never a member.
        members: for each query the rows of its positives, or of its junk.

    Raises:
        ShortlistError: ``rows`` is not two-dimensional, or not one set of members a query.
    """
    table = np.asarray(rows)
    if table.ndim != 2 or len(table) != len(members):
        raise ShortlistError(
            f"rows have the shape {table.shape}, expected (Q, R) with Q = {len(members)}, the "
            "number of queries with members"
        )
    marks = np.zeros(table.shape, dtype=np.bool_)
    for query, row_numbers in enumerate(members):
        known = np.fromiter(row_numbers, dtype=np.int64)
        marks[query] = np.isin(table[query], known) & (table[query] != EMPTY)
    return marks


def mean_over_queries(values: npt.ArrayLike) -> float:
    """Return the mean of the values ``(Q,)`` that are not NaN; NaN if there are none."""
    array = np.asarray(values, dtype=np.float64)
    known = array[~np.isnan(array)]
    return float(known.mean()) if known.size else float("nan")


def _marks(name: str, marks: npt.ArrayLike, shape: tuple[int, ...]) -> Bools:
    array = np.asarray(marks, dtype=np.bool_)
    if array.shape != shape:
        raise ShortlistError(f"{name} has the shape {array.shape}, but relevant {shape}")
    return array


def _positive_counts(n_positives: npt.ArrayLike, hits: Bools) -> Ints:
    counts = np.asarray(n_positives)
    whole = counts.size == 0 or np.issubdtype(counts.dtype, np.integer)
    if counts.shape != (len(hits),) or not whole:
        raise ShortlistError(
            f"n_positives needs one whole number a query, shape ({len(hits)},); got "
            f"{counts.dtype} {counts.shape}"
        )
    found = hits.sum(axis=1)
    short = np.flatnonzero((counts < found) | (counts < 0))
    if short.size:
        query = int(short[0])
        raise SettingError(
            f"query {query}: n_positives is {counts[query]}, but its list holds {found[query]} "
            "relevant entries; count all positives of the gallery, and list no image twice"
        )
    return counts.astype(np.int64)
