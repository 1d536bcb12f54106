"""The ids of a gallery: bytes on disk, decoded one by one, found through a table of hashes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError, ShortlistError, near_matches, shown
from patchrerank.gallery.arrays import RESTORE, Array, array_path
from patchrerank.gallery.ends import checked_ends
from patchrerank.gallery.id_table import table_size
from patchrerank.gallery.id_types import ID_TYPES
from patchrerank.kernels.segments import Segments, plain, span_bytes, spans_of
from patchrerank.types import EMPTY, Rows

if TYPE_CHECKING:
    from patchrerank.kernels.id_lists import ListReader

BLOCK = 1 << 14
LOOK_LIKE = 3
"""Ids that an error shows."""

NEAR_AMONG = 1 << 20
"""Ids among which near matches of an unknown one are looked for."""

CONTINUED = 0xC0, 0x80
"""Mask and value of a byte inside a UTF-8 character."""


class Ids(Sequence[Any]):
    """N ids in row order, read from where they lie; nothing of them is kept in memory.

    Args:
        folder: where the arrays lie, for messages.
        blob: uint8, the bytes of all ids, one behind the other.
        ends: int64 ``(N,)``, where each ends; both may be segments.
        kind: what they are: a name in :data:`patchrerank.gallery.id_types.ID_TYPES`.
        table: of their hashes, as written beside them; None: made when an id is looked up.
        removed: uint8 ``(n,)``, 1 where a row was removed, whose id is not found any more; rows
            from n on live. None: all do.
    """

    def __init__(
        self,
        folder: Path,
        blob: Array,
        ends: Array,
        kind: str = "text",
        table: Array | None = None,
        removed: Array | None = None,
    ) -> None:
        self._folder, self.kind = folder, ID_TYPES[kind]
        self._blob: Any = plain(blob)
        self._ends: Any = plain(ends)
        self._given = None if table is None else np.asarray(table, dtype=np.uint32)
        self._removed = np.asarray(() if removed is None else removed, dtype=np.uint8)

    def check(self) -> None:
        """Read all of them once.

        Raises:
            GalleryError: one is empty or no UTF-8, or the ends do not rise to the number of bytes.
        """
        stops = self._checked_ends()
        if self.kind.size is not None:
            wrong = np.diff(stops, prepend=0) != self.kind.size
            if wrong.any():
                raise self._no_id(int(np.argmax(wrong)))
            return
        mask, inside = CONTINUED
        firsts = self._blob[stops[:-1]] & mask
        try:
            if (firsts == inside).any():
                raise self._no_id(1 + int(np.argmax(firsts == inside)))
            self._blob.tobytes().decode("utf-8")
        except UnicodeDecodeError as error:
            row = int(np.searchsorted(stops, error.start, side="right"))
            raise self._no_id(row) from None

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return self.at(np.arange(*place.indices(len(self))))
        return self.at(np.array([range(len(self))[place]]))[0]

    def at(self, rows: Rows) -> list[Any]:
        """Return the ids of rows int64 ``(n,)``, each of which there is.

        Raises:
            GalleryError: one is damaged; names its row.
        """
        begins, counts, wrong = spans_of(rows, self._ends, len(self._blob))
        if wrong >= 0:
            raise self._no_id(int(rows[wrong]))
        held, stops = self._blob, begins + counts
        if isinstance(held, Segments):
            held, stops = span_bytes(held, begins, counts), np.cumsum(counts)
        bytes_of, unpack = memoryview(held), self.kind.unpack
        spans = zip((stops - counts).tolist(), stops.tolist(), strict=True)
        try:
            return [unpack(bytes_of[begin:end]) for begin, end in spans]
        except ValueError:
            if len(rows) == 1:
                raise self._no_id(int(rows[0])) from None
            return [self[row] for row in rows.tolist()]  # says which

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), BLOCK):
            yield from self.at(np.arange(start, min(start + BLOCK, len(self))))

    def living(self) -> Iterator[Any]:
        """Yield the ids of the rows that were not removed."""
        for start in range(0, len(self), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(self)))
            gone = np.zeros(len(rows), dtype=bool)
            known = self._removed[start : start + BLOCK]
            gone[: len(known)] = known != 0
            yield from self.at(rows[~gone])

    def __contains__(self, item: object) -> bool:
        return type(item) is self.kind.kind and bool(self.rows_of([item])[0] >= 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def table(self) -> npt.NDArray[np.uint32]:
        """The hash table of all ids, as on disk, or made of them.

        Raises:
            GalleryError: an id stands twice in living rows.
        """
        if self._given is not None:
            return self._given
        table, twice = self.new_table()
        if twice >= 0:
            raise GalleryError(f"{self._folder}: the id {self[twice]!r} stands twice; {RESTORE}")
        return table

    def new_table(self) -> tuple[npt.NDArray[np.uint32], int]:
        """Return the table made of all ids, and the first row whose id stands before it, or -1."""
        from patchrerank.kernels.ids import table_of

        self._checked_ends()
        return table_of(self._blob, self._ends, table_size(len(self)), self._removed)

    @cached_property
    def lists(self) -> ListReader:
        """Finds the ids of plain lists, with their scores.

        Raises:
            GalleryError: an id stands twice in living rows.
        """
        from patchrerank.kernels.id_lists import ListReader

        return ListReader(self.table, self._blob, self._ends, self._removed)

    def rows_of(self, ids: Sequence[Any]) -> Rows:
        """Return the living row of each id, int64, ``-1`` where it is none of them.

        A whole number of more than 64 bits is none of them, as any other that is not there.

        Raises:
            ShortlistError: an id of another kind.
        """
        from patchrerank.kernels.ids import find_rows

        try:
            raw, stops, gap = self.kind.packed(ids)
        except ShortlistError:
            self.kind.check(ids)
            return self._rows_within(ids)
        held = self.table, self._blob, self._ends
        return find_rows(raw, stops, *held, gap=gap, removed=self._removed)

    def _rows_within(self, ids: Sequence[Any]) -> Rows:
        """Return the same, where some are numbers of more than 64 bits."""
        places = [place for place, item in enumerate(ids) if not self.kind.beyond(item)]
        rows = np.full(len(ids), EMPTY, dtype=np.int64)
        rows[places] = self.rows_of([ids[place] for place in places])
        return rows

    def unknown(self, ids: Sequence[Any], rows: Rows) -> ShortlistError:
        """Return the error of ids that are not among these, with what they may have meant.

        Args:
            ids: K, as asked for.
            rows: int64 ``(K,)``, as found; ``-1`` for the unknown ones.
        """
        missing = [item for item, row in zip(ids, rows, strict=True) if row < 0]
        near = near_matches(str(missing[0]), map(str, islice(self.living(), NEAR_AMONG)))
        like = ", ".join(shown(item) for item in islice(self.living(), LOOK_LIKE))
        return ShortlistError(
            f"{len(missing)} of {len(rows)} ids are not in the gallery {self._folder}, for "
            f"example {shown(missing[0])}{near}; its ids look like {like}"
        )

    def crc_of(self, rows: int) -> int:
        """Return the CRC-32 of the bytes of the first ``rows`` ids, one behind the other."""
        return zlib.crc32(self._blob[: self._ends[rows - 1] if rows else 0].tobytes())

    def _checked_ends(self) -> Rows:
        return checked_ends(self._folder, "id_ends", self._ends, len(self._blob), empty=False)

    def _no_id(self, row: int) -> GalleryError:
        return GalleryError(
            f"{array_path(self._folder, 'ids')}: the id of row {row} is not valid "
            f"{self.kind.encoded}; {RESTORE}"
        )
