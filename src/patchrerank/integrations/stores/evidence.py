"""What rerankers ask of a gallery, answered from a store."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from patchrerank.boxes import NO_BOX
from patchrerank.errors import GalleryError, ShortlistError, shown
from patchrerank.gallery.id_types import ID_TYPES, IdType
from patchrerank.gallery.identity import check_space
from patchrerank.gallery.manifest import NO_REGIONS
from patchrerank.integrations.stores.records import Record
from patchrerank.types import EMPTY, Floats, Queries, Rows

if TYPE_CHECKING:
    from patchrerank.encoders import Whitening
    from patchrerank.gallery.manifest import Manifest
    from patchrerank.kernels import Store


class Source(Protocol):
    """What is asked of a store."""

    name: str
    whitening: Whitening | None

    @property
    def space(self) -> Manifest:
        """What its vectors are."""
        ...

    def keys_of(self, ids: Sequence[Any]) -> list[str]:
        """Return the keys of ids."""
        ...

    def held(self, keys: Sequence[str]) -> set[str]:
        """Return which of the keys are there now."""
        ...


class StoredIds(Sequence[Any]):
    """Ids by row, from keys."""

    def __init__(self, keys: Sequence[str], kind: IdType, name: str) -> None:
        self._keys, self.kind, self._name = keys, kind, name

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return self.kind.read(self._keys[place])
        return self.kind.parse(self._keys[place])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.kind.read(self._keys))

    def at(self, rows: Rows) -> list[Any]:
        """Return the ids of rows int64 ``(n,)``."""
        return self.kind.read([self._keys[row] for row in rows.tolist()])

    def unknown(self, ids: Sequence[Any], rows: Rows) -> ShortlistError:
        """Return the error for ids of which some rows are -1."""
        away = [item for item, row in zip(ids, rows.tolist(), strict=True) if row < 0]
        return ShortlistError(
            f"{len(away)} of {len(ids)} ids are not in {self._name}, for example "
            f"{shown(away[0])}; push the gallery again, or pass missing='keep' or 'drop'"
        )


class _FromStore:
    """What a store says of all its vectors."""

    has_local = False

    def __init__(self, store: Source, keys: Sequence[str]) -> None:
        self.store, self.manifest = store, store.space
        self.folder = Path(store.name)
        self.keys = keys
        self.ids = StoredIds(keys, ID_TYPES[self.manifest.id_type], store.name)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def live_count(self) -> int:
        """All rows are there, or were when they were met."""
        return len(self)

    @property
    def dim(self) -> int:
        """Dimensions d of every vector."""
        return self.manifest.dim

    @property
    def has_boxes(self) -> bool:
        """Whether patches have boxes."""
        return self.manifest.regions != NO_REGIONS

    @property
    def sizes(self) -> Rows:
        """int32 ``(N, 2)`` of zeros: no store knows the pixels of pictures."""
        return np.zeros((len(self), 2), dtype=np.int32)

    @property
    def local(self) -> Any:
        """Local descriptors are not pushed.

        Raises:
            GalleryError: always.
        """
        raise GalleryError(
            f"{self.store.name}: local descriptors are not pushed into stores; use a reranker of "
            "patches, or open the gallery's folder"
        )

    @property
    def whitening(self) -> Whitening | None:
        """None, where the gallery's vectors are not whitened.

        Raises:
            GalleryError: they are, and nobody gave the store the whitening.
        """
        given = self.store.whitening
        if self.manifest.whitened and given is None:
            raise GalleryError(
                f"{self.store.name}: its vectors are whitened, and stores do not keep the "
                "whitening; set store.whitening = gallery.whitening, or pass ready vectors"
            )
        return given if self.manifest.whitened else None

    def nbytes(self) -> dict[str, int]:
        """Return nothing: what it costs is the store's affair."""
        return {}

    def check_queries(self, queries: Queries) -> None:
        """Refuse queries that do not live in the store's space; see the gallery's."""
        check_space(self.folder, self.manifest, queries)


class StoredGallery(_FromStore):
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


class Evidence(_FromStore):
    """Some images in memory, laid out as a gallery's: what the kernels read.

    Args:
        store: where they are from.
        keys: of the rows, in order.
        found: those that were there; the others have no patches and a NaN vector.
    """

    def __init__(self, store: Source, keys: Sequence[str], found: Mapping[str, Record]) -> None:
        super().__init__(store, keys)
        self._records = [found.get(key) for key in keys]
        counts = [0 if record is None else len(record.patches) for record in self._records]
        self.patch_ends: Rows = np.cumsum(counts, dtype=np.int64)
        self.removed = np.zeros(len(keys), dtype=bool)
        self.live: Rows = np.arange(len(keys))

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
