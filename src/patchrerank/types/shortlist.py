"""Shortlists: candidates of each query, best first, from anybody's search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError, ShortlistError
from patchrerank.score_reading import Metric, ScoreReading
from patchrerank.search_results import batch_of, falls, ids_of, refuse_twice, scores_of
from patchrerank.types.arrays import EMPTY, Floats, Rows, float_array
from patchrerank.types.missing import (
    Missing,
    MissingCandidates,
    check_missing,
    log_dropped,
    number_missing,
    told_apart,
)
from patchrerank.types.shortlist_checks import check_scores, is_plain, row_numbers

ScoreLists = Sequence[Sequence[float] | npt.NDArray[np.floating]] | npt.NDArray[np.floating]


class IdIndex(Protocol):
    """Anything that maps ids to row numbers, a gallery for one.

    It may have ``read_list``, too (see :class:`patchrerank.gallery.Gallery`), which is asked first.
    """

    def rows_of(self, ids: Sequence[Any], *, strict: bool = True) -> Rows:
        """Return the row of each id; of one that it does not hold -1, strictly a ShortlistError."""
        ...


@dataclass(frozen=True)
class Shortlist:
    """Candidates of each query, best first.

    Attributes:
        rows: int64 ``(Q, K)`` gallery row numbers; ``-1`` marks an empty slot (only at the end).
        scores: float32 ``(Q, K)``, non-increasing along each row, ``-inf`` in empty slots.
        missing: the candidates of each query that the gallery does not hold, which stand in none
            of the slots; None for a query that lacks none, ``()`` if no query does.
    """

    rows: Rows
    scores: Floats
    missing: tuple[MissingCandidates | None, ...] = ()

    def __post_init__(self) -> None:
        rows = row_numbers(self.rows)
        scores = float_array(self.scores, "scores", ShortlistError)
        if rows.ndim != 2 or rows.shape != scores.shape:
            raise ShortlistError(
                f"rows and scores need one shape (Q, K), got {rows.shape} and {scores.shape}"
            )
        if len(self.missing) not in (0, len(rows)):
            raise ShortlistError(f"{len(rows)} queries, but missing holds {len(self.missing)}")
        if not is_plain(rows, scores):
            scores = np.where(rows == EMPTY, np.float32(-np.inf), scores)
            check_scores(rows, scores)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def trusted(
        cls,
        rows: Rows,
        scores: Floats,
        missing: tuple[MissingCandidates | None, ...] = (),
    ) -> Shortlist:
        """Return a part of what was checked when it came in, without checking it again."""
        made = object.__new__(cls)
        object.__setattr__(made, "rows", np.ascontiguousarray(rows))
        object.__setattr__(made, "scores", np.ascontiguousarray(scores))
        object.__setattr__(made, "missing", missing)
        return made

    @staticmethod
    def joined(parts: Sequence[Shortlist]) -> Shortlist:
        """Return shortlists, one or more, as one of all their queries, filled up to one width."""
        if len(parts) == 1:
            return parts[0]
        width, ends = max(part.rows.shape[1] for part in parts), np.cumsum([*map(len, parts)])
        rows = np.full((ends[-1], width), EMPTY, dtype=np.int64)
        scores = np.full((ends[-1], width), -np.inf, dtype=np.float32)
        for part, end in zip(parts, ends, strict=True):
            place = slice(end - len(part), end), slice(part.rows.shape[1])
            rows[place], scores[place] = part.rows, part.scores
        away = [one for part in parts for one in part.missing or (None,) * len(part)]
        return Shortlist.trusted(rows, scores, tuple(away) if any(away) else ())

    @classmethod
    def from_ids(
        cls,
        index: IdIndex,
        ids: Sequence[Sequence[Any]],
        scores: ScoreLists | None = None,
        *,
        sort: bool = False,
        higher_is_better: bool | None = None,
        metric: Metric | None = None,
        n_query_vectors: int | Sequence[int] | None = None,
        missing: Missing = "error",
    ) -> Shortlist:
        """Build a shortlist from anybody's search result.

        Args:
            index: the gallery that knows the ids.
            ids: one sequence of candidate ids a query, best first; lengths may differ. Any
                iterable will do, columns of pandas or pyarrow too.
            scores: the first stage's scores in the same layout (higher is better unless
                ``metric`` or ``higher_is_better`` says otherwise), or None
                where only the order is known. Then the score of the candidate at rank r
                (from 1) of K is set to ``1 - (r - 1) / K``, so that λ weighs *position*.
            sort: accept scores that are out of order and sort them (stable: equal scores keep
                the order given). Without it they are an error, since a shuffled list usually
                means that ids and scores belong to different queries, or that lower is better.
                A list of five or more that only rises is refused all the same, for distances
                look like that, until ``higher_is_better`` or ``metric`` is said.
            higher_is_better: which way is better; False takes negatives, whose scale is unknown.
            metric: what the scores are, to make cosines of them: ``cosine-distance``, ``l2``,
                ``l2-squared``, ``inner-product`` (all of unit vectors) or ``maxsim-sum``; see
                :class:`patchrerank.score_reading.ScoreReading`.
            n_query_vectors: for ``maxsim-sum``, how many vectors each query had.
            missing: what a candidate is that the index does not hold: an ``error``; or it is
                taken out of the list, to ``keep`` its place and score among the hits, or to
                ``drop`` it (logged once a call); see :attr:`missing`. Scores and ranks are read
                before it is taken out.

        Raises:
            ShortlistError: unknown or duplicate ids, scores that are no finite numbers, wrong
                lengths, wrong order.
            SettingError: settings that contradict each other, or a metric without scores.
        """
        check_missing(missing)
        reading = ScoreReading(metric, higher_is_better, sort, n_query_vectors)
        if reading.of_similarities and scores is not None:
            plain = _read_plain(index, ids, scores)
            if plain is not None:
                return plain
        lists = [ids_of(number, row) for number, row in enumerate(batch_of(ids, "candidates"))]
        given = None if scores is None else _score_lists(scores, lists)
        if given is None and (metric is not None or higher_is_better is not None):
            raise SettingError("metric and higher_is_better say what scores are; pass scores too")
        found = [_rows_of(index, number, part, missing) for number, part in enumerate(lists)]
        rows = _table([part for part, _ in found], EMPTY)
        if given is None:
            table = _table([rank_scores(len(part)) for part in lists], -np.inf)
        elif reading.of_similarities and all(map(falls, given)):
            table = _table(given, -np.inf)
        else:
            table = reading.similarities(_table(given, -np.inf), rows != EMPTY)
        if sort and given is not None:
            order = np.argsort(-table, axis=1, kind="stable")
            rows = np.take_along_axis(rows, order, axis=1)
            table = np.take_along_axis(table, order, axis=1)
        values = table.astype(np.float32)
        strangers = [names for _, names in found]
        if not any(strangers):
            return cls.trusted(rows, values)
        if missing == "drop":
            log_dropped(strangers, int((rows != EMPTY).sum()))
        return cls.trusted(*told_apart(rows, values, strangers, kept=missing == "keep"))


def _table(parts: Sequence[npt.NDArray[Any]], fill: float) -> npt.NDArray[Any]:
    """Return lists ``(≤ K,)`` as one table ``(Q, K)``, filled up where they are shorter."""
    width = max(map(len, parts), default=0)
    if len(parts) == 1:
        return parts[0].reshape(1, width)
    if parts and all(len(part) == width for part in parts):
        return np.concatenate(parts).reshape(len(parts), width)
    table = np.full((len(parts), width), fill, dtype=parts[0].dtype if parts else np.int64)
    for line, part in zip(table, parts, strict=True):
        line[: len(part)] = part
    return table


def _read_plain(index: IdIndex, ids: Any, scores: Any) -> Shortlist | None:
    """Return the shortlist of lists that the index can read at once; None if it cannot one."""
    read = getattr(index, "read_list", None)
    if read is None or type(ids) is not list or not ids or type(scores) not in (list, np.ndarray):
        return None
    if len(scores) != len(ids):
        return None
    found = []
    for names, given in zip(ids, scores, strict=True):
        part = read(names, given)
        if part is None:
            return None
        found.append(part)
    rows, values = zip(*found, strict=True)
    return Shortlist.trusted(_table(rows, EMPTY), _table(values, -np.inf))


def _rows_of(
    index: IdIndex, query: int, ids: list[Any], missing: Missing
) -> tuple[Rows, list[Any]]:
    """Return the rows of one query's candidates, and the ids of the missing ones."""
    try:
        rows = index.rows_of(ids) if missing == "error" else index.rows_of(ids, strict=False)
    except ShortlistError as error:
        raise ShortlistError(f"query {query}: {error}") from None
    ordered = np.sort(rows)
    lowest = int(ordered[0]) if len(rows) else 0
    if lowest < (0 if missing == "error" else EMPTY):
        raise ShortlistError(f"query {query}: its index gave the row {lowest}")
    again = ordered[1:] == ordered[:-1]
    away = []
    if lowest == EMPTY:
        away, again = number_missing(rows, ids), again & (ordered[1:] != EMPTY)
    if again.any() or len(set(away)) < len(away):
        refuse_twice(query, ids)
    return rows, away


def rank_scores(count: int) -> Floats:
    """Return ``1 - (r - 1) / count`` for ranks r = 1…count: scores for an order without scores."""
    return (1.0 - np.arange(count) / max(count, 1)).astype(np.float32)


def _score_lists(scores: ScoreLists, lists: list[list[str]]) -> list[npt.NDArray[np.float64]]:
    listed = batch_of(scores, "scores")
    if len(listed) != len(lists):
        raise ShortlistError(f"{len(lists)} lists of ids but {len(listed)} lists of scores")
    return [
        scores_of(number, row, len(query_ids))
        for number, (row, query_ids) in enumerate(zip(listed, lists, strict=True))
    ]
