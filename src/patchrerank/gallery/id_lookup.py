"""The ids of a gallery: given out by row, and found."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np

from patchrerank.gallery.arrays import Array
from patchrerank.gallery.id_table import ID_TABLE
from patchrerank.gallery.id_types import OTHERS
from patchrerank.gallery.ids import Ids
from patchrerank.gallery.manifest import REMOVED
from patchrerank.gallery.mapped import READ_WHOLE, MappedFolder
from patchrerank.search_results import LARGEST, listed_ids, plain_scores
from patchrerank.types import Floats, Rows


class FindsIds(MappedFolder):
    """A folder of arrays whose rows have ids."""

    @cached_property
    def ids(self) -> Ids:
        """The N ids, in row order: text, whole numbers or UUIDs; those that were removed, too.

        Raises:
            GalleryError: their checksum differs, one is empty or no UTF-8, or the ends do not
                rise. Of more than 32 MB this is found where an id is used.
        """
        blob, ends = self.array("ids"), self.array("id_ends")
        given = map(self._arrays.get, (ID_TABLE, REMOVED))
        ids = Ids(self.folder, blob, ends, self.manifest.id_type, *given)
        if self.shards is None and blob.nbytes + ends.nbytes <= READ_WHOLE:
            _ = self.sound_array("ids"), self.sound_array("id_ends")
            ids.check()
        return ids

    def rows_of(self, ids: Sequence[Any], *, strict: bool = True) -> Rows:
        """Return the living row of each id, int64 ``(n,)``; -1 if not held and not ``strict``.

        Raises:
            ShortlistError: no list of ids, ids of another kind, or ids that the gallery does not
                hold; near matches and the first ids that it does hold are listed.
        """
        if type(ids) is not list and not isinstance(ids, np.ndarray):
            ids = listed_ids(ids)
        rows = self.ids.rows_of(ids)
        if len(rows) and rows.min() < 0 and self._sound_ids and strict:
            raise self.ids.unknown(ids, rows)
        return rows

    def read_list(
        self, ids: object, scores: object, limit: float = LARGEST
    ) -> tuple[Rows, Floats] | None:
        """Return rows int64 and scores float32 ``(K,)`` of a list that is plain, else None.

        Plain are lists of ids that are all there, none twice, with numbers within ± ``limit`` that
        nowhere rise. What is wrong with any other, if anything, is not said.
        """
        given = plain_scores(scores, len(ids)) if type(ids) is list and ids else None
        if given is None:
            return None
        found, kind = self.ids, self.ids.kind
        try:
            text = kind.joined(cast("list[Any]", ids))
        except OTHERS:
            return None
        return found.lists.read(text, kind.size or 0, given, limit)

    @cached_property
    def _sound_ids(self) -> list[Array]:
        """What ids are looked up in, read once to tell ids that are not held from damage."""
        names = {"ids", "id_ends", ID_TABLE, REMOVED} & self._arrays.keys()
        return [self.sound_array(name) for name in names]

    def ids_crc(self, rows: int) -> int:
        """Return the CRC-32 of the ids of the first ``rows`` images, one behind the other."""
        return self.manifest.arrays["ids"].crc32 if rows == len(self) else self.ids.crc_of(rows)
