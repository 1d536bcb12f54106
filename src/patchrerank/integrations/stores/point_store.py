"""What both ways to Qdrant share: ids of points, and going through all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from patchrerank.integrations.stores.fused import FusesThere
from patchrerank.integrations.stores.points import (
    DIGEST,
    IMAGE,
    KEY,
    LOCAL,
    TEXT,
    local_of,
    note_id,
    payload_of,
    point_id,
    record_of,
    vectors_of,
)
from patchrerank.integrations.stores.records import Record

SCROLLED = 1000
"""Points that are asked for at once."""


class PointStore(FusesThere):
    """Images as points; a subclass speaks to one of Qdrant's clients."""

    @abstractmethod
    def _page(self, offset: Any) -> tuple[Sequence[Any], Any]:
        """Return ``SCROLLED`` points with key and digest, and where the next page begins."""

    @abstractmethod
    def _retrieve(self, ids: Sequence[Any], payload: list[str], vectors: bool) -> Sequence[Any]:
        """Return the points of ids that are there, with some of their payload."""

    @abstractmethod
    def _upsert(self, points: Sequence[tuple[Any, dict[str, Any], dict[str, Any]]]) -> None:
        """Insert or replace points: id, vectors, payload."""

    def _keep(self, notes: Mapping[str, str]) -> None:
        self._upsert([(note_id(name), {}, {TEXT: text}) for name, text in notes.items()])

    def _kept(self, names: Sequence[str]) -> dict[str, str]:
        ids = {note_id(name): name for name in names}
        found = self._retrieve(list(ids), [TEXT], False)
        return {ids[str(point.id)]: point.payload[TEXT] for point in found}

    def _write(self, records: Sequence[Record]) -> None:
        kind = self.space.id_type
        points = [(point_id(one.key, kind), vectors_of(one), payload_of(one)) for one in records]
        self._upsert(points)

    def _held(self, keys: Sequence[str]) -> set[str]:
        return {point.payload[KEY] for point in self._retrieve(self._ids(keys), [KEY], False)}

    def _fetch(self, keys: Sequence[str]) -> Iterator[Record]:
        for point in self._retrieve(self._ids(keys), IMAGE, True):
            yield record_of(point.payload, point.vector)

    def _fetch_local(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for point in self._retrieve(self._ids(keys), [KEY, LOCAL], False):
            if LOCAL in point.payload:
                yield local_of(point.payload)

    def _digests(self) -> Iterator[tuple[str, int]]:
        points, offset = self._page(None)
        while True:
            yield from ((p.payload[KEY], p.payload[DIGEST]) for p in points if KEY in p.payload)
            if offset is None:
                return
            points, offset = self._page(offset)

    def _ids(self, keys: Sequence[str]) -> list[Any]:
        return [point_id(key, self.space.id_type) for key in keys]
