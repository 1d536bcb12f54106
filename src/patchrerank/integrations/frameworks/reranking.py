"""What all frameworks share: candidates of any kind in, the same candidates placed anew."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from patchrerank.errors import QueryError, SettingError, check_kind, shown
from patchrerank.images import IMAGE_SUFFIXES
from patchrerank.integrations.frameworks.candidates import Candidates, Placed
from patchrerank.rerankers import Ranker
from patchrerank.rerankers.given_queries import Query
from patchrerank.rerankers.hits import check_top_k, hits_of
from patchrerank.score_reading import Metric
from patchrerank.types import EMPTY, Missing, Queries, Ranking, Rows, Shortlist, Text
from patchrerank.types.missing import check_missing
from patchrerank.types.text import AS_GIVEN, checked_templates

QueryIs: TypeAlias = Literal["text", "image", "auto"]
"""What a query that is a string is: words; a picture's path or data URI; or whichever it looks
like (a data URI, or the path of an existing file that ends like a picture's)."""

DATA = "data:"


@dataclass(frozen=True)
class Reranking:
    """A reranker as frameworks use it.

    Candidates may have ids that the gallery does not hold, or none at all; several may be parts of
    one picture: they stay together, in the order they came in. Nothing that is passed in changes.

    Attributes:
        ranker: a reranker or cascade.
        query_is: what a query is that is a string: ``text``, ``image`` or ``auto``.
        templates: what words are put into (:class:`patchrerank.Text`).
        missing: what a candidate is that the gallery does not hold: ``keep`` leaves it at its
            place; ``drop`` leaves it out; or it is an ``error``.
        metric: what first-stage scores are (:class:`patchrerank.score_reading.ScoreReading`);
            None: similarities.

    Raises:
        SettingError: something else in their places.
    """

    ranker: Ranker
    query_is: QueryIs = "text"
    templates: Sequence[str] = field(default=AS_GIVEN)
    missing: Missing = "keep"
    metric: Metric | None = None

    def __post_init__(self) -> None:
        check_kind("ranker", self.ranker, Ranker, "load_reranker(gallery, stages)")
        if self.query_is not in get_args(QueryIs):
            raise SettingError(f"query_is is {shown(self.query_is)}; use text, image or auto")
        check_missing(self.missing)
        object.__setattr__(self, "templates", checked_templates(self.templates))

    def place(
        self,
        query: Any,
        ids: Sequence[Any],
        scores: Sequence[float | None] | None = None,
        top_k: int | None = None,
    ) -> list[Placed]:
        """Rerank one query's candidates.

        Args:
            query: words, a picture in any form, a ready vector, or a :class:`patchrerank.Text`.
            ids: gallery ids, best first; None for a candidate that has none. Text stands for a
                whole number or UUID where the gallery's ids are such.
            scores: of the first stage; None, or a None among them: only the order is known.
            top_k: return only the first places.

        Raises:
            PatchRerankError: as :meth:`patchrerank.rerankers.Ranker.rank` does.
        """
        return self.place_batch([query], [ids], [scores], top_k)[0]

    def place_batch(
        self,
        queries: Sequence[Any],
        ids: Sequence[Sequence[Any]],
        scores: Sequence[Sequence[float | None] | None] | None = None,
        top_k: int | None = None,
    ) -> list[list[Placed]]:
        """Rerank many queries' candidates; see :meth:`place`."""
        given = scores if scores is not None else [None] * len(queries)
        check_top_k(top_k)
        lists = [Candidates.of(self.ranker.gallery, names) for names in ids]
        found: list[list[Placed]] = [[] for _ in queries]
        asked = [number for number, candidates in enumerate(lists) if len(candidates.first)]
        for numbers, encoded in self._encoded(queries, asked):
            shortlists = [self._shortlist(lists[number], given[number]) for number in numbers]
            ranking = self.ranker.rerank(encoded, Shortlist.joined(shortlists))
            hits = hits_of(ranking, self.ranker.gallery)
            for place, number in enumerate(numbers):
                rows = _rows_listed(ranking, place)
                found[number] = lists[number].placed(hits[place], rows)[:top_k]
        return found

    def _encoded(
        self, queries: Sequence[Any], asked: Sequence[int]
    ) -> Iterator[tuple[list[int], Queries]]:
        """Yield queries in words, and the others, with their numbers."""
        made = {number: self.query(queries[number]) for number in asked}
        for in_words in (True, False):
            numbers = [n for n, query in made.items() if isinstance(query, Text) is in_words]
            if numbers:
                yield numbers, self.ranker.encode([made[number] for number in numbers])

    def query(self, query: Any) -> Query:
        """Return a query as rerankers take it.

        Raises:
            QueryError: a data URI that holds no base64, or a path where words were expected to be
                a picture.
        """
        if not isinstance(query, str):
            return query  # type: ignore[no-any-return]
        as_picture = self.query_is == "image" or (self.query_is == "auto" and _looks_like(query))
        if not as_picture:
            return Text(query, self.templates)
        return _of_data_uri(query) if query.startswith(DATA) else Path(query)

    def _shortlist(
        self, candidates: Candidates, scores: Sequence[float | None] | None
    ) -> Shortlist:
        known = None
        if scores is not None and not any(score is None for score in scores):
            known = [[scores[place] for place in candidates.first]]
        return Shortlist.from_ids(
            candidates,
            [candidates.first],
            known,  # type: ignore[arg-type]
            sort=known is not None,
            metric=self.metric if known is not None else None,
            missing=self.missing,
        )


def _rows_listed(ranking: Ranking, query: int) -> Rows:
    """Return the row of each hit of a query, -1 for a kept one that has none."""
    columns, _ = ranking.listed(query)
    held, rows = columns >= 0, np.full(len(columns), EMPTY, dtype=np.int64)
    rows[held] = ranking.rows[query][columns[held]]
    return rows


def _looks_like(text: str) -> bool:
    """Tell a data URI, or the path of a picture that is there, from words."""
    if text.startswith("data:image/"):
        return True
    if "\0" in text or os.path.splitext(text)[1].lower() not in IMAGE_SUFFIXES:
        return False
    return os.path.isfile(text)


def _of_data_uri(text: str) -> bytes:
    head, comma, content = text.partition(",")
    try:
        if not comma or not head.endswith(";base64"):
            raise ValueError("no ;base64,")
        return base64.b64decode(content, validate=True)
    except (ValueError, binascii.Error) as error:
        raise QueryError(
            f"the query {text[:40]}… is no picture as a data URI with base64 ({error})"
        ) from error
