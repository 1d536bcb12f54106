"""What makes arrays a shortlist: whole row numbers, and finite scores that nowhere rise."""

from __future__ import annotations

import numpy as np

from patchrerank.errors import ShortlistError, shown
from patchrerank.types.arrays import EMPTY, Floats, Rows


def row_numbers(values: Rows) -> Rows:
    """Return row numbers as int64; floats that are whole numbers will do, as some files have."""
    found = np.asarray(values)
    whole = found.dtype.kind in "iu" or not found.size
    if found.dtype.kind == "f":
        whole = bool((np.isfinite(found) & (found == np.trunc(found))).all())
    if not whole:
        raise ShortlistError(
            f"rows: expected whole numbers of gallery rows, got {shown(values)} (ids are turned "
            "into rows by Shortlist.from_ids)"
        )
    return np.ascontiguousarray(found, dtype=np.int64).reshape(found.shape)


def is_plain(rows: Rows, scores: Floats) -> bool:
    """Tell full lists of finite scores that nowhere rise, which need no closer look."""
    if not rows.size or rows.min() < 0 or not (scores[:, 1:] <= scores[:, :-1]).all():
        return False
    return bool(scores[:, 0].max() < np.inf and scores[:, -1].min() > -np.inf)


def _check_nan(rows: Rows, scores: Floats) -> None:
    bad = np.argwhere((rows != EMPTY) & ~np.isfinite(scores))
    if bad.size:
        query, slot = (int(value) for value in bad[0])
        raise ShortlistError(
            f"query {query}: the score at position {slot} is {scores[query, slot]}; "
            "scores must be finite (drop such candidates, or pass scores=None)"
        )


def check_scores(rows: Rows, scores: Floats) -> None:
    """Refuse slots ``(Q, K)`` that are no shortlist.

    Raises:
        ShortlistError: a row below -1, an empty slot before a filled one, scores that are not
            finite or rise; names the query and the position.
    """
    if rows.size == 0:
        return
    if int(rows.min()) < EMPTY:
        raise ShortlistError(f"row {int(rows.min())} is negative; use -1 for an empty slot")
    gaps = np.argwhere((rows[:, :-1] == EMPTY) & (rows[:, 1:] != EMPTY))
    if gaps.size:
        raise ShortlistError(f"query {gaps[0][0]}: empty slots (-1) must stand at the end")
    _check_nan(rows, scores)
    rising = np.argwhere(scores[:, 1:] > scores[:, :-1])
    if rising.size:
        query, slot = (int(value) for value in rising[0])
        raise ShortlistError(
            f"query {query}: score {scores[query, slot + 1]} at position {slot + 1} is higher than "
            f"{scores[query, slot]} before it; a shortlist is best first and higher is better. If "
            "these are distances, pass their negatives; if they are merely unsorted, use "
            "Shortlist.from_ids(…, sort=True)"
        )
