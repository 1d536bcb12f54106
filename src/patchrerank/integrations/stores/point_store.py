"""What both ways to Qdrant share: ids of points, and going through all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from patchrerank.integrations.stores.fused import FusesThere
from patchrerank.integrations.stores.points import DIGEST, KEY, point_id

SCROLLED = 1000
"""Points that are asked for at once."""


class PointStore(FusesThere):
    """Images as points; a subclass speaks to one of Qdrant's clients."""

    @abstractmethod
    def _page(self, offset: Any) -> tuple[Sequence[Any], Any]:
        """Return ``SCROLLED`` points with key and digest, and where the next page begins."""

    def _digests(self) -> Iterator[tuple[str, int]]:
        points, offset = self._page(None)
        while True:
            yield from ((p.payload[KEY], p.payload[DIGEST]) for p in points if KEY in p.payload)
            if offset is None:
                return
            points, offset = self._page(offset)

    def _ids(self, keys: Sequence[str]) -> list[int | str]:
        return [point_id(key, self.space.id_type) for key in keys]
