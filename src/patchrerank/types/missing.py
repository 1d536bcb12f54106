"""Candidates that the first stage still returns but the gallery does not hold, or not yet."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from patchrerank.errors import SettingError, shown
from patchrerank.types.arrays import EMPTY, Floats, Rows

Missing: TypeAlias = Literal["error", "keep", "drop"]
"""What such a candidate is: an ``error``; ``keep``: it keeps its place in the list and its
first-stage score; ``drop``: it is left out."""

logger = logging.getLogger(__name__)

UNHELD = EMPTY - 1
"""While a shortlist is made, row ``UNHELD - m`` stands for missing candidate m of its query."""


@dataclass(frozen=True, eq=False)
class MissingCandidates:
    """The candidates of one query that the gallery does not hold.

    Attributes:
        ids: M ids, best first, as they were given.
        places: int64 ``(M,)``, where each stood in the first stage's list, from 0; rising.
        scores: float32 ``(M,)``, the first stage's; non-increasing.
        kept: True: they stay in the list of hits, each at its place; False: they were dropped.
    """

    ids: list[Any]
    places: Rows
    scores: Floats
    kept: bool

    def __len__(self) -> int:
        return len(self.ids)

    def among(self, columns: Rows, scores: Floats) -> tuple[Rows, Floats]:
        """Put them at their places among the candidates that were held, best first.

        Args:
            columns: int64 ``(n,)``, where those stand in the tables of their ranking.
            scores: float32 ``(n,)``, their scores.

        Returns:
            int64 ``(n + M,)``, the columns, ``-1 - m`` for missing candidate m; and float32
            scores, of those m the first stage's, or the nearest one between the scores of their
            neighbours. (Where neighbours' scores rise, at a cut, that is the one before.)
        """
        known = np.ones(len(columns) + len(self), dtype=bool)
        known[self.places] = False
        listed = np.empty(len(known), dtype=np.int64)
        listed[known], listed[~known] = columns, -1 - np.arange(len(self))
        bounded = np.concatenate(([np.inf], scores, [-np.inf])).astype(np.float32)
        held_before = np.cumsum(known)[~known]
        above, below = bounded[held_before], bounded[held_before + 1]
        merged = np.empty(len(known), dtype=np.float32)
        merged[known] = scores
        merged[~known] = np.minimum(np.maximum(self.scores, below), above)
        return listed, merged


def check_missing(missing: object) -> None:
    """Refuse any other word.

    Raises:
        SettingError: it is none of them.
    """
    if missing not in get_args(Missing):
        raise SettingError(f"missing is {shown(missing)}; use 'error', 'keep' or 'drop'")


def number_missing(rows: Rows, ids: Sequence[Any]) -> list[Any]:
    """Give each row -1 of ``(K,)`` the number of a missing candidate; return those candidates' ids.

    Numbers of numpy's types become Python's.
    """
    away = np.flatnonzero(rows == EMPTY)
    rows[away] = UNHELD - np.arange(len(away))
    found = [ids[place] for place in away.tolist()]
    return [item.item() if isinstance(item, np.generic) else item for item in found]


def log_dropped(ids: Sequence[Sequence[Any]], count: int) -> None:
    """Say how many of ``count`` candidates were dropped."""
    some = [item for names in ids for item in names]
    logger.warning(
        "%d of %d candidates are not in the gallery and were dropped, for example %s",
        len(some),
        count,
        shown(some[0]),
    )


def told_apart(
    rows: Rows, scores: Floats, ids: Sequence[Sequence[Any]], *, kept: bool
) -> tuple[Rows, Floats, tuple[MissingCandidates | None, ...]]:
    """Take the missing candidates out of the lists of all queries.

    Args:
        rows: int64 ``(Q, K)``, best first; ``UNHELD - m`` stands for ``ids[q][m]``.
        scores: float32 ``(Q, K)``.
        ids: those of each query that are missing.
        kept: whether they stay among the hits.

    Returns:
        rows and scores as a shortlist has them, and what was taken out of each query's list;
        nothing, ``()``, if of none.
    """
    away = rows <= UNHELD
    if not away.any():
        return rows, scores, ()
    order = np.argsort(away | (rows == EMPTY), axis=1, kind="stable")
    width = int((rows >= 0).sum(axis=1).max())
    moved = np.take_along_axis(np.where(away, EMPTY, rows), order, axis=1)[:, :width]
    values = np.take_along_axis(np.where(away, -np.inf, scores), order, axis=1)[:, :width]
    found = tuple(
        _taken(np.flatnonzero(away[query]), rows[query], scores[query], ids[query], kept)
        for query in range(len(rows))
    )
    return np.ascontiguousarray(moved), np.ascontiguousarray(values, dtype=np.float32), found


def _taken(
    places: Rows, rows: Rows, scores: Floats, ids: Sequence[Any], kept: bool
) -> MissingCandidates | None:
    if not len(places):
        return None
    names = [ids[UNHELD - row] for row in rows[places].tolist()]
    return MissingCandidates(names, places, scores[places].astype(np.float32), kept)
