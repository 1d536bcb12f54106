"""Documents that are ids, as shortlists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from patchrerank.gallery import Gallery
from patchrerank.score_reading import Metric
from patchrerank.search_results import Doubles
from patchrerank.serving.sent_places import Places
from patchrerank.types import Missing, Queries, Shortlist

ABSENT = -1.0
"""The cosine of an image that is not there, where nobody sent a score."""


def listed(
    gallery: Gallery,
    queries: Queries,
    ids: list[Any],
    scores: Doubles | None,
    metric: Metric | None,
    missing: Missing,
) -> tuple[Shortlist, bool]:
    """Return documents that are ids as a shortlist, best first, and whether they came like that.

    Args:
        gallery: that holds them.
        queries: one, encoded.
        ids: K; one that was sent twice is scored once, with its first score.
        scores: the first stage's, in any order; None: cosines of the gallery's global vectors.
        metric: what the scores are.
        missing: what ids are that it does not hold; without scores they come last.

    Raises:
        ShortlistError: unknown ids, or scores that are no finite numbers.
        QueryError: the query does not live in the gallery's space.
    """
    gallery.check_queries(queries)
    read = getattr(gallery, "read_list", None)
    if scores is not None and metric is None and read is not None:
        plain = read(ids, scores)
        if plain is not None:
            return Shortlist.trusted(plain[0][None], plain[1][None]), True
    ids, scores = _once(ids, scores)
    if scores is None:
        return _by_cosine(gallery, queries, ids, missing), False
    return _from_ids(gallery, ids, scores, missing, metric=metric), False


def _by_cosine(gallery: Gallery, queries: Queries, ids: list[Any], missing: Missing) -> Shortlist:
    """Return ids by the cosines of the gallery's global vectors; those it lacks come last."""
    rows = gallery.rows_of(ids, strict=missing == "error")
    held = rows >= 0
    cosines = np.full(len(ids), ABSENT, dtype=np.float32)
    cosines[held] = np.nan_to_num(gallery.global_vectors[rows[held]] @ queries.vectors[0], nan=-1)
    if held.all():
        order = np.argsort(-cosines, kind="stable")
        return Shortlist.trusted(rows[order][None], cosines[order][None])
    return _from_ids(gallery, ids, cosines, missing, higher_is_better=True)


def as_sent(
    gallery: Gallery,
    ids: list[Any],
    scores: Doubles | None,
    metric: Metric | None,
    missing: Missing,
) -> Shortlist:
    """Return documents as a shortlist in the order that was sent, or that the scores say.

    Args:
        gallery: that holds the ids.
        ids: best first.
        scores: the first stage's, or None.
        metric: what the scores are.
        missing: what ids are that the gallery does not hold.

    Raises:
        ShortlistError: unknown ids, or scores that are no finite numbers.
    """
    ids, scores = _once(ids, scores)
    given = None if scores is None or not len(scores) else scores
    return _from_ids(gallery, ids, given, missing, metric=None if given is None else metric)


def _once(ids: list[Any], scores: Doubles | None) -> tuple[list[Any], Doubles | None]:
    """Return each id once, with the score of its first place."""
    places = Places.of(ids)
    if not places.again:
        return ids, scores
    first = list(places.first.values())
    return list(places.first), None if scores is None else scores[first]


def _from_ids(
    gallery: Gallery, ids: list[Any], scores: Any, missing: Missing, **how: Any
) -> Shortlist:
    """Return a shortlist; what is dropped is not logged, as it were with every request."""
    given = None if scores is None else [scores]
    kept: Missing = "keep" if missing == "drop" else missing
    found = Shortlist.from_ids(gallery, [ids], given, sort=True, missing=kept, **how)
    if missing != "drop":
        return found
    away = tuple(one and replace(one, kept=False) for one in found.missing)
    return Shortlist.trusted(found.rows, found.scores, away)
