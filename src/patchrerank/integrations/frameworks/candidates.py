"""A framework's candidates: which rows of the gallery they are, and where they are placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import numpy as np

from patchrerank.gallery import Gallery
from patchrerank.hit_scores import falling_scores
from patchrerank.types import EMPTY, Hit, Rows

MOST = 1 << 63
"""Whole numbers from here on are no ids."""


@dataclass(frozen=True)
class Placed:
    """A candidate at its new place.

    Attributes:
        index: where it stood in the list that came in, from 0.
        score: falls strictly with the place, for frameworks sort again.
        hit: everything else that is known of it.
    """

    index: int
    score: float
    hit: Hit

    def record(self) -> dict[str, Any]:
        """Return what frameworks keep beside a score: component scores, box, status."""
        known = asdict(self.hit)
        names = ("global_score", "local_score", "box", "status", "probability")
        return {name: list(known[name]) if name == "box" and known[name] else known[name]
                for name in names}  # fmt: skip


@dataclass(frozen=True)
class Candidates:
    """The candidates of one query: an index of ids whose ids are their own positions.

    Attributes:
        rows: of each candidate; -1 for those that the gallery does not hold.
        first: the positions that stand for all of one picture, the first of each.
        parts: first position → all positions of its picture.
        names: the ids as they were given.
    """

    rows: Rows
    first: list[int]
    parts: Mapping[int, list[int]]
    names: Sequence[Any]
    gallery: Gallery

    @classmethod
    def of(cls, gallery: Gallery, names: Sequence[Any]) -> Candidates:
        """Look ids up, and put those of one picture together."""
        rows = rows_of_any(gallery, names)
        parts: dict[Any, list[int]] = {}
        for position, (row, name) in enumerate(zip(rows.tolist(), names, strict=True)):
            key = (row, None) if row >= 0 else (position if name is None else EMPTY, str(name))
            parts.setdefault(key, []).append(position)
        groups = {group[0]: group for group in parts.values()}
        return cls(rows, list(groups), groups, names, gallery)

    def rows_of(self, ids: Sequence[Any], *, strict: bool = True) -> Rows:
        """Return the row of each position; see :class:`patchrerank.types.IdIndex`."""
        rows = self.rows[list(ids)]
        if strict and (rows < 0).any():
            names = [self.names[position] for position in ids]
            raise self.gallery.ids.unknown(names, rows)
        return rows

    def placed(self, hits: Sequence[Hit], rows: Rows) -> list[Placed]:
        """Return all candidates in the order of hits; ``rows`` -1 where a hit is a position."""
        by_row = {int(self.rows[place]): place for place in self.first if self.rows[place] >= 0}
        order = [
            (position, hit)
            for hit, row in zip(hits, rows.tolist(), strict=True)
            for position in self.parts[by_row[row] if row >= 0 else hit.id]
        ]
        scores = falling_scores(np.array([[hit.score for _, hit in order]], dtype=np.float32))[0]
        return [
            Placed(position, score, hit)
            for (position, hit), score in zip(order, scores.tolist(), strict=True)
        ]


def rows_of_any(gallery: Gallery, names: Sequence[Any]) -> Rows:
    """Return the row of each id int64 ``(n,)``, -1 for what is no id of the gallery's kind."""
    kind = gallery.ids.kind
    rows = np.full(len(names), EMPTY, dtype=np.int64)
    known, places = [], []
    for place, name in enumerate(names):
        if isinstance(name, str) and kind.kind is not str:
            try:
                name = kind.parse(name)
            except ValueError:
                continue
        if isinstance(name, np.integer):
            name = int(name)
        if isinstance(name, bool) or (isinstance(name, int) and not -MOST <= name < MOST):
            continue
        if isinstance(name, kind.kind):
            known.append(UUID(str(name)) if kind.kind is UUID else name)
            places.append(place)
    if known:
        rows[places] = gallery.rows_of(known, strict=False)
    return rows
