"""What every store does: takes a gallery, is searched, hands out evidence or scores it itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from tqdm import tqdm

from patchrerank.errors import GalleryError, QueryError, SettingError
from patchrerank.gallery import Gallery
from patchrerank.gallery.id_types import ID_TYPES
from patchrerank.gallery.manifest import Manifest
from patchrerank.integrations.stores.evidence import Evidence, StoredGallery
from patchrerank.integrations.stores.records import Record, batches, records_of
from patchrerank.integrations.stores.space import check_same, read_space, space_text
from patchrerank.types import EMPTY, Floats, Queries, Shortlist

if TYPE_CHECKING:
    from patchrerank.encoders import Whitening

DELETED_AT_ONCE = 1000


@dataclass(frozen=True)
class Pushed:
    """How many images a push wrote, found there already as they are, and deleted."""

    written: int
    unchanged: int
    deleted: int


class VectorStore(ABC):
    """One name (collection, table) in a store, with the images of one gallery.

    Ids may be text, whole numbers or UUIDs; they come back as they were. A subclass translates
    only: its methods take and give keys, which are ids as text. Errors of the store's own client
    (no connection, no permission) pass through unchanged.

    Attributes:
        name: of the kind of store and the place in it, for messages.
        scores_there: whether the store computes max similarity over patches exactly.
        most: how many images a search returns at most; None: any number.
        whitening: of the gallery, to be set where its vectors are whitened and queries are
            pictures or words; no store keeps it.
    """

    name: str
    whitening: Whitening | None = None
    scores_there: ClassVar[bool] = True
    most: ClassVar[int | None] = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @abstractmethod
    def _read_space(self) -> str | None:
        """Return what :meth:`_create` was given; None if there is nothing of this name."""

    @abstractmethod
    def _create(self, text: str, dim: int) -> None:
        """Make what is missing for vectors of ``dim`` dimensions, and keep ``text`` beside it."""

    @abstractmethod
    def _digests(self) -> Iterator[tuple[str, int]]:
        """Yield the key and digest of every image."""

    @abstractmethod
    def _write(self, records: Sequence[Record]) -> None:
        """Insert images, or replace those of the same keys; seen by searches on return."""

    @abstractmethod
    def _delete(self, keys: Sequence[str]) -> None:
        """Delete images; keys that are not there are no error."""

    @abstractmethod
    def _held(self, keys: Sequence[str]) -> set[str]:
        """Return which of the keys are there."""

    @abstractmethod
    def _fetch(self, keys: Sequence[str]) -> Iterable[Record]:
        """Return images of these keys, in any order, without those that are not there."""

    @abstractmethod
    def _nearest(self, vectors: Floats, size: int) -> list[list[tuple[str, float]]]:
        """Return for each unit vector ``(Q, d)`` the nearest images: key and cosine."""

    def _best(self, vector: Floats, keys: Sequence[str]) -> Mapping[str, float]:
        """Return the highest cosine of each image's patches to a unit vector ``(d,)``, exactly.

        Images that are not there, or have no patches, are left out.
        """
        raise NotImplementedError

    @cached_property
    def space(self) -> Manifest:
        """What its vectors are.

        Raises:
            GalleryError: no gallery was pushed here.
        """
        text = self._read_space()
        if text is None:
            raise GalleryError(f"{self.name}: no gallery was pushed here; call push(gallery)")
        return read_space(text, self.name)

    @cached_property
    def gallery(self) -> StoredGallery:
        """What rerankers take for a gallery; its rows number the ids met so far."""
        return StoredGallery(self)

    def push(self, gallery: Gallery, *, prune: bool = False, progress: bool = True) -> Pushed:
        """Write a gallery's images; those that are there already, unchanged, are passed over.

        So a push that was cut off goes on where it was, and after a change of the gallery only
        what changed is written. Ids and digests of all that is there are read first.

        Args:
            gallery: whose living images are pushed. Vectors go as float32 at unit norm: scores
                of a float32 gallery are the same in the store; those of int8 and product
                quantised ones differ by as much as their decoded vectors are no unit vectors.
            prune: delete images that the gallery does not hold.
            progress: show a progress bar.

        Raises:
            GalleryError: the store holds vectors of another encoder, regions or kind of ids, or
                a global vector has no direction; nothing is written.
        """
        text = space_text(gallery)
        held = self._read_space()
        if held is None:
            self._create(text, gallery.dim)
        else:
            check_same(read_space(held, self.name), read_space(text, self.name), self.name)
        for name in ("space", "gallery"):
            self.__dict__.pop(name, None)
        known = dict(self._digests()) if held is not None else {}
        with tqdm(total=gallery.live_count, unit="img", disable=not progress) as bar:
            written, seen = self._push(gallery, known, bar)
        gone = sorted(known.keys() - seen) if prune else []
        self._delete_all(gone)
        return Pushed(written, len(seen) - written, len(gone))

    def _push(self, gallery: Gallery, known: Mapping[str, int], bar: Any) -> tuple[int, set[str]]:
        seen: set[str] = set()

        def changed() -> Iterator[Record]:
            for record in records_of(gallery, gallery.live):
                seen.add(record.key)
                if known.get(record.key) != record.digest:
                    yield record
                else:
                    bar.update()

        written = 0
        for batch in batches(changed()):
            self._write(batch)
            written += len(batch)
            bar.update(len(batch))
        return written, seen

    def delete(self, ids: Sequence[Any]) -> None:
        """Delete images; ids that are not there are no error.

        Raises:
            ShortlistError: ids of another kind.
        """
        self._delete_all(self.keys_of(ids))

    def _delete_all(self, keys: Sequence[str]) -> None:
        once = list(dict.fromkeys(keys))
        for start in range(0, len(once), DELETED_AT_ONCE):
            self._delete(once[start : start + DELETED_AT_ONCE])

    def keys_of(self, ids: Sequence[Any]) -> list[str]:
        """Return the keys of ids.

        Raises:
            ShortlistError: ids of another kind than the store's.
        """
        ID_TYPES[self.space.id_type].packed(list(ids))
        return [str(item) for item in ids]

    def search(self, queries: Queries, size: int) -> Shortlist:
        """Return the ``size`` nearest images of each query by their global vectors.

        Returns:
            Rows of :attr:`gallery`; scores are cosines. Equal scores: in the store's order.

        Raises:
            QueryError: the queries do not live in the store's space, or have no direction.
            SettingError: ``size`` is negative, or more than the store can return.
        """
        self.gallery.check_queries(queries)
        if size < 0 or size > (self.most or size):
            most = "" if self.most is None else f" and at most {self.most}"
            raise SettingError(f"the shortlist size must be at least 0{most}, got {size}")
        rows = np.full((len(queries), size), EMPTY, dtype=np.int64)
        scores = np.full(rows.shape, -np.inf, dtype=np.float32)
        if not rows.size:
            return Shortlist(rows, scores)
        found = self._nearest(unit_queries(queries.vectors), size)
        for query, hits in enumerate(found):
            best = sorted(hits, key=lambda hit: -hit[1])
            rows[query, : len(best)] = self.gallery.rows_met([key for key, _ in best])
            scores[query, : len(best)] = [score for _, score in best]
        width = max(map(len, found))
        return Shortlist(rows[:, :width], scores[:, :width])

    def held(self, keys: Sequence[str]) -> set[str]:
        """Return which of the keys are there now."""
        return self._held(list(dict.fromkeys(keys))) if len(keys) else set()

    def evidence(self, keys: Sequence[str]) -> Evidence:
        """Fetch images; those that are not there (any more) come without patches."""
        found = {record.key: record for record in self._fetch(keys)} if len(keys) else {}
        return Evidence(self, keys, found)

    def best(self, vector: Floats, keys: Sequence[str]) -> Mapping[str, float]:
        """Return the highest cosine of each image's patches to a unit vector, computed there.

        Raises:
            SettingError: the store cannot, or not exactly.
        """
        if not self.scores_there:
            raise SettingError(
                f"{self.name} computes no exact max similarity; use StoreReranker, which fetches "
                "the candidates' vectors"
            )
        return self._best(vector, keys) if len(keys) else {}


def unit_queries(vectors: Floats) -> Floats:
    """Return query vectors ``(Q, d)`` at unit norm.

    Raises:
        QueryError: one has no direction.
    """
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise QueryError("a query vector has no direction (zeros, NaN or infinite values)")
    return np.asarray(vectors / norms[:, None], dtype=np.float32)
