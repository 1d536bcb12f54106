"""Where in a request's documents ids and rows stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from patchrerank.types import Rows


@dataclass(frozen=True)
class Places:
    """Where documents stood; one that was sent twice is scored once.

    Attributes:
        first: the first place of each id, in the order of places.
        again: further places of those that have some.
    """

    first: dict[Any, int]
    again: dict[Any, list[int]]

    @classmethod
    def of(cls, ids: Sequence[Any]) -> Places:
        """Return those of ids as they were sent."""
        first = dict(zip(ids, range(len(ids)), strict=True))  # no list for each: many wake the GC
        if len(first) == len(ids):
            return cls(first, {})
        first = {}
        again: dict[Any, list[int]] = {}
        for place, item in enumerate(ids):
            if first.setdefault(item, place) != place:
                again.setdefault(item, []).append(place)
        return cls(first, again)

    def __getitem__(self, item: Any) -> Sequence[int]:
        """Return all places of an id."""
        return (self.first[item], *self.again.get(item, ()))


def places_of(rows: Rows, sent: Rows) -> list[int]:
    """Return where each of some rows stands among those that were sent, each once."""
    order = sent.argsort()
    found: list[int] = order[sent.searchsorted(rows, sorter=order)].tolist()
    return found
