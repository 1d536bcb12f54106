"""What rerankers ask of any gallery, answered from what a store says of all its vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from patchrerank.errors import GalleryError, ShortlistError, shown
from patchrerank.gallery.id_types import ID_TYPES, IdType
from patchrerank.gallery.identity import check_space
from patchrerank.gallery.manifest import NO_REGIONS
from patchrerank.integrations.stores.local import FetchedLocal
from patchrerank.integrations.stores.records import Record
from patchrerank.types import Floats, Queries, Rows

if TYPE_CHECKING:
    from patchrerank.encoders import Whitening
    from patchrerank.gallery.backgrounds import Backgrounds
    from patchrerank.gallery.local_manifest import LocalManifest
    from patchrerank.gallery.manifest import Manifest


class Source(Protocol):
    """What is asked of a store."""

    name: str
    backgrounds: Backgrounds | None
    holds_local: ClassVar[bool]

    @property
    def space(self) -> Manifest:
        """What its vectors are."""
        ...

    @property
    def whitening(self) -> Whitening | None:
        """What is applied behind the encoder."""
        ...

    @property
    def local_manifest(self) -> LocalManifest | None:
        """What its local descriptors are."""
        ...

    @property
    def local_sample(self) -> Floats:
        """Some local descriptors."""
        ...

    def keys_of(self, ids: Sequence[Any]) -> list[str]:
        """Return the keys of ids."""
        ...

    def held(self, keys: Sequence[str]) -> set[str]:
        """Return which of the keys are there now."""
        ...

    def fetched(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """Fetch images."""
        ...

    def fetched_local(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Fetch local descriptors."""
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


class FromStore:
    """What a store says of all its vectors."""

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
    def has_local(self) -> bool:
        """Whether local descriptors were pushed."""
        return self.store.local_manifest is not None

    @property
    def local(self) -> FetchedLocal:
        """The local descriptors of the rows.

        Raises:
            GalleryError: they were not pushed; says what to do.
        """
        made = self.store.local_manifest
        if made is None:
            how = (
                "push(gallery, local=True) does it"
                if self.store.holds_local
                else ("this store has no room for them; open the gallery's folder")
            )
            raise GalleryError(f"{self.store.name}: local descriptors were not pushed; {how}")
        return FetchedLocal(self.store.name, made, self._pieces(), lambda: self.store.local_sample)

    def _pieces(self) -> list[bytes | None]:
        """Return the packed local descriptors of each row."""
        return [None] * len(self)

    @property
    def pictures(self) -> Any:
        """Pictures are not pushed.

        Raises:
            GalleryError: always.
        """
        raise GalleryError(
            f"{self.store.name}: pictures are not pushed into stores; pass them by id where a "
            "reranker takes images=…, or open the gallery's folder"
        )

    @property
    def whitening(self) -> Whitening | None:
        """The whitening that was pushed along; None where vectors are not whitened."""
        return self.store.whitening

    @property
    def backgrounds(self) -> Backgrounds:
        """Crops for query views, as the store was given them.

        Raises:
            GalleryError: it was not.
        """
        if self.store.backgrounds is None:
            raise GalleryError(
                f"{self.store.name}: keeps no backgrounds, which query views are composed on; set "
                "store.backgrounds = gallery.backgrounds"
            )
        return self.store.backgrounds

    def nbytes(self) -> dict[str, int]:
        """Return nothing: what it costs is the store's affair."""
        return {}

    def check_queries(self, queries: Queries) -> None:
        """Refuse queries that do not live in the store's space; see the gallery's."""
        check_space(self.folder, self.manifest, queries)
