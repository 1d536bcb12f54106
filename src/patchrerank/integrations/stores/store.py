"""What every store does: takes a gallery, is searched, hands out evidence or scores it itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from patchrerank.errors import SettingError
from patchrerank.gallery import Gallery
from patchrerank.gallery.id_types import ID_TYPES
from patchrerank.integrations.stores.described import TOLD, DescribedStore
from patchrerank.integrations.stores.evidence import Evidence, StoredGallery
from patchrerank.integrations.stores.notes import notes_of, write_note
from patchrerank.integrations.stores.records import Record, batches, records_of
from patchrerank.integrations.stores.space import (
    check_same,
    check_same_local,
    read_space,
    space_text,
    unit_queries,
)
from patchrerank.types import EMPTY, Floats, Queries, Rows, Shortlist

if TYPE_CHECKING:
    from patchrerank.gallery.backgrounds import Backgrounds

DELETED_AT_ONCE = 1000


@dataclass(frozen=True)
class Pushed:
    """How many images a push wrote, found there already as they are, and deleted."""

    written: int
    unchanged: int
    deleted: int


class VectorStore(DescribedStore):
    """One name (collection, table) in a store, with the images of one gallery.

    Ids may be text, whole numbers or UUIDs; they come back as they were. A subclass translates
    only (:class:`~patchrerank.integrations.stores.adapter.StoreAdapter`).

    Attributes:
        backgrounds: of the gallery, to be set where query views are wanted: crops of pictures
            are not pushed.
    """

    backgrounds: Backgrounds | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @cached_property
    def gallery(self) -> StoredGallery:
        """What rerankers take for a gallery; its rows number the ids met so far."""
        return StoredGallery(self)

    def push(
        self,
        gallery: Gallery,
        *,
        local: bool = False,
        prune: bool = False,
        progress: bool = True,
    ) -> Pushed:
        """Write a gallery's images; those that are there already, unchanged, are passed over.

        So a push that was cut off goes on where it was, and after a change of the gallery only
        what changed is written. Ids and digests of all that is there are read first. A whitening
        goes along, so that pictures and words can ask.

        Args:
            gallery: whose living images are pushed. Vectors go as float32 at unit norm: scores
                of a float32 gallery are the same in the store; those of int8 and product
                quantised ones differ by as much as their decoded vectors are no unit vectors.
            local: with local descriptors, in the gallery's own precision; once they are there,
                every push brings them.
            prune: delete images that the gallery does not hold.
            progress: show a progress bar.

        Raises:
            GalleryError: the store holds vectors of another encoder, regions or kind of ids;
                local descriptors are missing, or of another encoder; a global vector has no
                direction. Nothing is written.
            SettingError: the store has no room for local descriptors.
        """
        known, local = self.prepare(gallery, local=local)
        with tqdm(total=gallery.live_count, unit="img", disable=not progress) as bar:
            written = self.push_rows(gallery, gallery.live, known, local=local, told=bar.update)
        deleted = self.prune(gallery, known) if prune else 0
        return Pushed(written, gallery.live_count - written, deleted)

    def prepare(self, gallery: Gallery, *, local: bool = False) -> tuple[Mapping[str, int], bool]:
        """Do what comes before images in a :meth:`push`, whose errors it raises.

        Returns:
            Key and digest of every image that is there; whether local descriptors are pushed.
        """
        text, held = space_text(gallery), self._read_space()
        local = self._takes_local(gallery, local, held is not None)
        if held is None:
            self._create(text, gallery.dim)
        else:
            check_same(read_space(held, self.name), read_space(text, self.name), self.name)
        for name in TOLD:
            self.__dict__.pop(name, None)
        for name, content in notes_of(gallery, local=local):
            write_note(name, content, self._keep, self._kept)
        return dict(self._digests()) if held is not None else {}, local

    def _takes_local(self, gallery: Gallery, wanted: bool, begun: bool) -> bool:
        """Return whether local descriptors are pushed, after checking that they can be."""
        if wanted and not self.holds_local:
            raise SettingError(
                f"{self.name}: has no room for local descriptors; Qdrant, LanceDB and PostgreSQL "
                "have, or open the gallery's folder for rerankers that read them"
            )
        held = self.local_manifest if begun else None
        if not wanted and held is None:
            return False
        check_same_local(held, gallery.local.manifest, self.name)
        return True

    def push_rows(
        self,
        gallery: Gallery,
        rows: Rows,
        known: Mapping[str, int],
        *,
        local: bool,
        told: Callable[[int], object] = lambda count: None,
    ) -> int:
        """Write images of a gallery that a store was prepared for; return how many.

        Args:
            gallery: see :meth:`push`.
            rows: int64 ``(n,)``, which images.
            known: digests by key of what is there; such images are passed over.
            local: with their local descriptors.
            told: is told of numbers of images that are done.
        """

        def changed() -> Iterator[Record]:
            for record in records_of(gallery, rows, local=local):
                if known.get(record.key) != record.digest:
                    yield record
                else:
                    told(1)

        written = 0
        for batch in batches(changed()):
            self._write(batch)
            written += len(batch)
            told(len(batch))
        return written

    def prune(self, gallery: Gallery, keys: Iterable[str]) -> int:
        """Delete those of the keys that a gallery does not hold; return how many."""
        gone = sorted(set(keys) - {str(item) for item in gallery.ids.at(gallery.live)})
        self._delete_all(gone)
        return len(gone)

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
        ID_TYPES[self.space.id_type].check(list(ids))
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
        """Return images as a gallery of their own; what is asked of them is fetched, once.

        Those that are not there (any more) have no patches.
        """
        return Evidence(self, keys)

    def fetched(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """Fetch images, without those that are not there (any more)."""
        return {record.key: record for record in self._fetch(keys)} if len(keys) else {}

    def fetched_local(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Fetch the local descriptors of images that have any."""
        return dict(self._fetch_local(keys)) if len(keys) else {}

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
