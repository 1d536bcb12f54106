"""What rerankers ask of a gallery, answered from a store: all of it, or some images in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.boxes import NO_BOX
from patchrerank.integrations.stores.from_store import FromStore, Source
from patchrerank.integrations.stores.local import FetchedLocal
from patchrerank.integrations.stores.records import Record
from patchrerank.types import EMPTY, Floats, Rows

if TYPE_CHECKING:
    from patchrerank.kernels import Store


class StoredGallery(FromStore):
    """All of a store; rows number the ids that were met, in that order, for as long as it lives."""

    keys: list[str]

    def __init__(self, store: Source) -> None:
        super().__init__(store, [])
        self._rows: dict[str, int] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"StoredGallery({self.store.name!r})"

    def rows_met(self, keys: Sequence[str]) -> list[int]:
        """Return the rows of keys that are known to be there."""
        with self._lock:
            for key in keys:
                if key not in self._rows:
                    self._rows[key] = len(self.keys)
                    self.keys.append(key)
            return [self._rows[key] for key in keys]

    def rows_of(self, ids: Sequence[Any], *, strict: bool = True) -> Rows:
        """Ask the store which ids it holds; see :meth:`patchrerank.gallery.Gallery.rows_of`.

        Raises:
            ShortlistError: ids of another kind, or, strictly, that are not there.
        """
        keys = self.store.keys_of(ids)
        held = self.store.held(keys)
        known = self.rows_met([key for key in keys if key in held])
        rows = np.full(len(keys), EMPTY, dtype=np.int64)
        rows[[place for place, key in enumerate(keys) if key in held]] = known
        if strict and (rows == EMPTY).any():
            raise self.ids.unknown(list(ids), rows)
        return rows


class Evidence(FromStore):
    """Some images in memory, laid out as a gallery's: what the kernels read.

    What is read of them is fetched when it is first asked for: global vectors, patches and boxes
    at once, local descriptors alone.

    Args:
        store: where they are.
        keys: of the rows, in order; those that are not there have no patches and a NaN vector.
    """

    def __init__(self, store: Source, keys: Sequence[str]) -> None:
        super().__init__(store, keys)
        self.removed = np.zeros(len(keys), dtype=bool)
        self.live: Rows = np.arange(len(keys))

    @cached_property
    def _records(self) -> list[Record | None]:
        found = self.store.fetched(self.keys)
        return [found.get(key) for key in self.keys]

    @cached_property
    def local(self) -> FetchedLocal:
        """The local descriptors of the rows; see the base class."""
        return super().local

    def _pieces(self) -> list[bytes | None]:
        found = self.store.fetched_local(self.keys)
        return [found.get(key) for key in self.keys]

    @cached_property
    def patch_ends(self) -> Rows:
        """int64 ``(N,)``: patches of image n end before ``patch_ends[n]``."""
        counts = [0 if record is None else len(record.patches) for record in self._records]
        return np.cumsum(counts, dtype=np.int64)

    @cached_property
    def sizes(self) -> Any:
        """int32 ``(N, 2)``: width and height in pixels; 0 where nobody knows."""
        found = [(0, 0) if record is None else record.size for record in self._records]
        return np.array(found, dtype=np.int32).reshape(len(found), 2)

    @cached_property
    def patch_store(self) -> Store:
        """The patch vectors as the scoring kernels take them."""
        from patchrerank.kernels import Float32Store

        parts = [record.patches for record in self._records if record is not None]
        empty = np.zeros((0, self.dim), dtype=np.float32)
        return Float32Store(np.ascontiguousarray(np.concatenate([empty, *parts])))

    @cached_property
    def boxes(self) -> Floats:
        """float32 ``(T, 4)``: the region of each patch; NaN where there is none."""
        parts = [
            record.boxes
            if len(record.boxes) == len(record.patches)
            else np.broadcast_to(NO_BOX, (len(record.patches), 4))
            for record in self._records
            if record is not None
        ]
        empty = np.zeros((0, 4), dtype=np.float32)
        return np.ascontiguousarray(np.concatenate([empty, *parts]), dtype=np.float32)

    @cached_property
    def global_vectors(self) -> Floats:
        """float32 ``(N, d)``; NaN where the image is gone."""
        nothing = np.full(self.dim, np.nan, dtype=np.float32)
        parts = [nothing if record is None else record.vector for record in self._records]
        return np.array(parts, dtype=np.float32).reshape(len(parts), self.dim)
