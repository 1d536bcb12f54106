"""What flows through the house: queries, a shortlist, local scores, a ranking, hits.

All arrays are C-contiguous numpy arrays on the host. ``Q`` queries, ``K`` slots a shortlist,
``d`` dimensions. Scores: higher is better. Boxes: see :mod:`patchrerank.boxes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, overload

import numpy as np
import numpy.typing as npt

from patchrerank.errors import QueryError, ShortlistError
from patchrerank.hit_scores import falling_scores

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
QueryCrop = Literal["none", "box"]
ScoreLists = Sequence[Sequence[float] | npt.NDArray[np.floating]] | npt.NDArray[np.floating]

EMPTY = -1
"""The row number that marks an empty slot of a shortlist."""


class IdIndex(Protocol):
    """Anything that maps ids to row numbers, a gallery for one."""

    def rows_of(self, ids: Sequence[str]) -> Rows:
        """Return the row of each id; raises for ids that it does not hold."""
        ...


@dataclass(frozen=True)
class LocalDescriptors:
    """Local descriptors of one picture, strongest first; n may be 0.

    Attributes:
        vectors: float32 ``(n, D)``, unit norm.
        positions: float32 ``(n, 2)``, x and y of each descriptor's centre, in [0, 1] of the
            upright picture.
        scales: int16 ``(n,)``, number of the scale at which it was found.
        weights: float32 ``(n,)``, strength by which they were selected; non-increasing.
    """

    vectors: Floats
    positions: Floats
    scales: npt.NDArray[np.int16]
    weights: Floats

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, eq=False, repr=False)
class LocalQueries(Sequence[LocalDescriptors]):
    """The local descriptors of a batch of queries, and who made them; a part of it keeps both.

    Attributes:
        items: one entry a query.
        identity: of the dense encoder, which must be that of a gallery's local store; empty for
            descriptors whose origin only the caller knows.
        sizes: (height, width) in pixels at which the pictures were seen, one entry a scale.
    """

    items: Sequence[LocalDescriptors]
    identity: str = ""
    sizes: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(self.items))

    @overload
    def __getitem__(self, place: int) -> LocalDescriptors: ...

    @overload
    def __getitem__(self, place: slice) -> LocalQueries: ...

    def __getitem__(self, place: int | slice) -> LocalDescriptors | LocalQueries:
        if isinstance(place, slice):
            return replace(self, items=self.items[place])
        return self.items[place]

    def __len__(self) -> int:
        return len(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        made_by = f", made by {self.identity[:12]}…" if self.identity else ""
        return f"LocalQueries({len(self)} queries{made_by})"


@dataclass(frozen=True)
class Queries:
    """A batch of encoded queries.

    Attributes:
        vectors: float32 ``(Q, d)``, the global descriptor of each query; unit norm is expected
            (cosine similarity is an inner product everywhere), finite values are required.
        boxes: float32 ``(Q, 4)`` or None: where the object is in each query picture; a NaN row
            means unknown.
        crop: what was done with the box before encoding: ``none`` (the whole picture was
            encoded) or ``box`` (the picture was cut to it). Recorded with every result.
        encoder: identity of the encoder that made the vectors; None for ready vectors whose
            origin only the caller knows (then only their dimension can be checked).
        images: the query pictures (path or picture object), for rerankers that look again.
        local: the local descriptors of each query, for rerankers that compare them.
        made_by: what the encoder says of itself (its ``describe()``), so that a message can say
            how it differs from a gallery's; None if nobody knows.
        local_encoder: identity of the dense encoder that made them, beside ``encoder``; None for
            descriptors whose origin only the caller knows (then only their dimension can be
            checked). ``encode_local_queries`` says it, and what it returns needs no such word.
    """

    vectors: Floats
    boxes: Floats | None = None
    crop: QueryCrop = "none"
    encoder: str | None = None
    images: Sequence[Any] | None = None
    local: Sequence[LocalDescriptors] | None = None
    made_by: Mapping[str, Any] | None = None
    local_encoder: str | None = None

    def __post_init__(self) -> None:
        vectors = np.ascontiguousarray(self.vectors, dtype=np.float32)
        if vectors.ndim != 2:
            raise QueryError(f"query vectors need the shape (Q, d), got {vectors.shape}")
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if bad.size:
            raise QueryError(f"query {bad[0]} holds NaN or infinite values; encode it again")
        object.__setattr__(self, "vectors", vectors)
        for name in ("boxes", "images", "local"):
            value = getattr(self, name)
            if value is not None and len(value) != len(vectors):
                raise QueryError(f"{len(vectors)} query vectors but {len(value)} {name}")
        local, maker = _with_maker(self.local, self.local_encoder)
        object.__setattr__(self, "local", local)
        object.__setattr__(self, "local_encoder", maker)

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, numbers: Sequence[int]) -> Queries:
        """Return the queries with these numbers, in this order."""
        kept = list(numbers)
        images, local = (
            None if values is None else [values[number] for number in kept]
            for values in (self.images, self.local)
        )
        if local is not None and isinstance(self.local, LocalQueries):
            local = replace(self.local, items=local)
        boxes = None if self.boxes is None else self.boxes[kept]
        return replace(self, vectors=self.vectors[kept], boxes=boxes, images=images, local=local)


@dataclass(frozen=True)
class Shortlist:
    """Candidates of each query, best first.

    Attributes:
        rows: int64 ``(Q, K)`` gallery row numbers; ``-1`` marks an empty slot (only at the end).
        scores: float32 ``(Q, K)``, non-increasing along each row, ``-inf`` in empty slots.
    """

    rows: Rows
    scores: Floats

    def __post_init__(self) -> None:
        rows = np.ascontiguousarray(self.rows, dtype=np.int64)
        scores = np.ascontiguousarray(self.scores, dtype=np.float32)
        if rows.ndim != 2 or rows.shape != scores.shape:
            raise ShortlistError(
                f"rows and scores need one shape (Q, K), got {rows.shape} and {scores.shape}"
            )
        scores = np.where(rows == EMPTY, np.float32(-np.inf), scores)
        _check_scores(rows, scores)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def from_ids(
        cls,
        index: IdIndex,
        ids: Sequence[Sequence[str]],
        scores: ScoreLists | None = None,
        *,
        sort: bool = False,
    ) -> Shortlist:
        """Build a shortlist from anybody's search result.

        Args:
            index: the gallery that knows the ids.
            ids: one sequence of candidate ids a query, best first; lengths may differ.
            scores: the first stage's scores in the same layout (higher is better), or None
                where only the order is known. Then the score of the candidate at rank r
                (from 1) of K is set to ``1 - (r - 1) / K``, so that λ weighs *position*.
            sort: accept scores that are out of order and sort them (stable: equal scores keep
                the order given). Without it they are an error, since a shuffled list usually
                means that ids and scores belong to different queries, or that lower is better.

        Raises:
            ShortlistError: unknown or duplicate ids, NaN scores, wrong lengths, wrong order.
        """
        lists = [_check_ids(number, query_ids) for number, query_ids in enumerate(ids)]
        width = max((len(query_ids) for query_ids in lists), default=0)
        rows = np.full((len(lists), width), EMPTY, dtype=np.int64)
        table = np.full((len(lists), width), -np.inf, dtype=np.float32)
        given = None if scores is None else _as_lists(scores, lists)
        for number, query_ids in enumerate(lists):
            count = len(query_ids)
            rows[number, :count] = index.rows_of(query_ids)
            table[number, :count] = rank_scores(count) if given is None else given[number]
        _check_nan(rows, table)
        if sort and given is not None:
            order = np.argsort(-table, axis=1, kind="stable")
            rows = np.take_along_axis(rows, order, axis=1)
            table = np.take_along_axis(table, order, axis=1)
        return cls(rows, table)


def _with_maker(
    local: Sequence[LocalDescriptors] | None, encoder: str | None
) -> tuple[LocalQueries | None, str | None]:
    """Return local descriptors together with who made them; what they say themselves counts."""
    if local is None:
        return None, None
    if not isinstance(local, LocalQueries):
        local = LocalQueries(local)
    if not local.identity and encoder:
        local = replace(local, identity=encoder)
    return local, local.identity or None


def rank_scores(count: int) -> Floats:
    """Return ``1 - (r - 1) / count`` for ranks r = 1…count: scores for an order without scores."""
    return (1.0 - np.arange(count) / max(count, 1)).astype(np.float32)


@dataclass(frozen=True)
class LocalScores:
    """What a reranker found for each slot of a shortlist.

    Attributes:
        scores: float32 ``(Q, K)``; ``-inf`` in empty slots and where there was no evidence.
        boxes: float32 ``(Q, K, 4)`` where it was found, NaN where nowhere; None if the method
            does not localise.
    """

    scores: Floats
    boxes: Floats | None = None


@dataclass(frozen=True)
class Ranking:
    """A reordered shortlist with everything that led to the order; all ``(Q, K)``, best first.

    Attributes:
        rows: int64 gallery rows, ``-1`` = empty slot.
        scores: float32 fused scores, as stages need them. They do not carry the order: saturated
            ones tie, and behind the fusion's cut they are the scores that came in, on another
            scale. :meth:`hit_scores` carries it.
        global_scores: float32 scores of the first stage.
        local_scores: float32 scores of the last reranker that saw the candidate; NaN if none did.
        boxes: float32 ``(Q, K, 4)``, NaN rows where there is no box.
        crop: what was done with the query box (see :class:`Queries`).
        settings: what produced the ranking, for the record (reranker and fusion of each stage).
        probabilities: float32, that the candidate shows the query's object, in [0, 1]; NaN where
            the last stage did not rescore it. None without a calibration.
    """

    rows: Rows
    scores: Floats
    global_scores: Floats
    local_scores: Floats
    boxes: Floats
    crop: QueryCrop = "none"
    settings: tuple[str, ...] = field(default=())
    probabilities: Floats | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def hit_scores(self) -> Floats:
        """Return the scores that hits and runs carry; ``-inf`` in empty slots.

        float32 ``(Q, K)``, strictly falling: each is the fused score, lowered by as few steps of
        float32 as it takes to be below the one before. Sorted by them, hits keep their order.
        """
        return falling_scores(self.scores, self.rows != EMPTY)


@dataclass(frozen=True)
class Hit:
    """One entry of a result list.

    Attributes:
        id: the gallery id.
        score: the fused score, a float32 that falls strictly with the rank: where fused scores
            tie, or behind a cut lie above those before it, it is lowered by as few steps as that
            takes. Whoever sorts by it again, as trec_eval does, finds this order.
        rank: from 1.
        global_score: the first stage's score.
        local_score: the local score, or None if the candidate lay behind the cut.
        box: ``(x0, y0, x1, y1)`` in [0, 1] of the image, or None.
        query_crop: what was done with the query's box before it was encoded.
        probability: that the image shows the query's object, in [0, 1], from a calibration
            (:class:`patchrerank.calibration.Calibration`); None without one, and for candidates
            that the last stage did not rescore.
    """

    id: str
    score: float
    rank: int
    global_score: float
    local_score: float | None
    box: tuple[float, float, float, float] | None
    query_crop: QueryCrop = "none"
    probability: float | None = None


def _check_ids(query: int, ids: Sequence[str]) -> list[str]:
    if isinstance(ids, str) or not hasattr(ids, "__iter__"):
        raise ShortlistError(f"query {query}: expected a sequence of ids, got {ids!r}")
    listed = [str(item) if isinstance(item, np.str_) else item for item in ids]
    wrong = next((item for item in listed if not isinstance(item, str)), None)
    if wrong is not None:
        raise ShortlistError(
            f"query {query}: id {wrong!r} is a {type(wrong).__name__}; ids are strings, the ones "
            "that the gallery was built with"
        )
    seen: set[str] = set()
    for position, item in enumerate(listed):
        if item in seen:
            raise ShortlistError(
                f"query {query}: id {item!r} stands twice in the shortlist (again at position "
                f"{position}); keep its best score and drop the other"
            )
        seen.add(item)
    return listed


def _as_lists(scores: ScoreLists, lists: list[list[str]]) -> list[Floats]:
    given = [np.asarray(row, dtype=np.float32).reshape(-1) for row in scores]
    if len(given) != len(lists):
        raise ShortlistError(f"{len(lists)} lists of ids but {len(given)} lists of scores")
    for number, (row, query_ids) in enumerate(zip(given, lists, strict=True)):
        if len(row) != len(query_ids):
            raise ShortlistError(
                f"query {number}: {len(query_ids)} ids but {len(row)} scores; pass one score an id"
            )
    return given


def _check_nan(rows: Rows, scores: Floats) -> None:
    bad = np.argwhere((rows != EMPTY) & ~np.isfinite(scores))
    if bad.size:
        query, slot = (int(value) for value in bad[0])
        raise ShortlistError(
            f"query {query}: the score at position {slot} is {scores[query, slot]}; "
            "scores must be finite (drop such candidates, or pass scores=None)"
        )


def _check_scores(rows: Rows, scores: Floats) -> None:
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
