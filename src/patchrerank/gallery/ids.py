"""The ids of a gallery: bytes on disk, decoded one by one, found through a table of hashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import RESTORE, Array, array_path
from patchrerank.gallery.ends import checked_ends
from patchrerank.types import Rows

BLOCK = 1 << 14
CONTINUED = 0xC0, 0x80
"""Mask and value of a byte inside a UTF-8 character."""


class Ids(Sequence[str]):
    """N ids in row order, read from where they lie; nothing of them is kept in memory.

    Args:
        folder: where the arrays lie, for messages.
        blob: uint8, the UTF-8 bytes of all ids, one behind the other.
        ends: int64 ``(N,)``, where each ends.
        table: of their hashes (:func:`patchrerank.kernels.ids.table_of`); None: made when an id
            is looked up.
    """

    def __init__(self, folder: Path, blob: Array, ends: Array, table: Array | None = None) -> None:
        self._folder = folder
        self._blob = np.asarray(blob, dtype=np.uint8)
        self._ends = np.asarray(ends, dtype=np.int64)
        self._given = None if table is None else np.asarray(table, dtype=np.uint32)

    def check(self) -> None:
        """Read all of them once.

        Raises:
            GalleryError: one is empty or no UTF-8, or the ends do not rise to the number of bytes.
        """
        stops = self._checked_ends()
        mask, inside = CONTINUED
        firsts = self._blob[stops[:-1]] & mask
        try:
            if (firsts == inside).any():
                raise self._no_text(1 + int(np.argmax(firsts == inside)))
            self._blob.tobytes().decode("utf-8")
        except UnicodeDecodeError as error:
            row = int(np.searchsorted(stops, error.start, side="right"))
            raise self._no_text(row) from None

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return self.at(np.arange(*place.indices(len(self))))
        row = range(len(self))[place]
        begin = int(self._ends[row - 1]) if row else 0
        try:
            return self._blob[begin : int(self._ends[row])].tobytes().decode("utf-8")
        except UnicodeDecodeError:
            raise self._no_text(row) from None

    def at(self, rows: Rows) -> list[str]:
        """Return the ids of rows int64 ``(n,)``, each of which there is."""
        ends = self._ends
        begins = np.where(rows > 0, ends[rows - 1], 0).tolist()
        blob = memoryview(self._blob)  # type: ignore[arg-type]
        spans = zip(begins, ends[rows].tolist(), strict=True)
        try:
            return [str(blob[begin:end], "utf-8") for begin, end in spans]
        except UnicodeDecodeError:
            return [self[row] for row in rows.tolist()]  # says which

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), BLOCK):
            yield from self.at(np.arange(start, min(start + BLOCK, len(self))))

    def __contains__(self, item: object) -> bool:
        return isinstance(item, str) and bool(self.rows_of([item])[0] >= 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def table(self) -> npt.NDArray[np.uint32]:
        """The hash table of all ids, as on disk, or made of them.

        Raises:
            GalleryError: an id stands twice.
        """
        from patchrerank.kernels.ids import table_of

        if self._given is not None:
            return self._given
        self._checked_ends()
        table, twice = table_of(self._blob, self._ends)
        if twice >= 0:
            raise GalleryError(f"{self._folder}: the id {self[twice]!r} stands twice; {RESTORE}")
        return table

    def rows_of(self, ids: Iterable[str]) -> Rows:
        """Return the row of each id, int64, ``-1`` where it is none of them.

        Raises:
            TypeError: something that is no text.
        """
        from patchrerank.kernels.ids import find_rows

        given = ids if isinstance(ids, list | tuple) else list(ids)
        text, stops, gap = _joined(given)
        return find_rows(text, stops, self.table, self._blob, self._ends, gap=gap)

    def _checked_ends(self) -> Rows:
        return checked_ends(self._folder, "id_ends", self._ends, len(self._blob), empty=False)

    def _no_text(self, row: int) -> GalleryError:
        return GalleryError(
            f"{array_path(self._folder, 'ids')}: the id of row {row} is not valid UTF-8; {RESTORE}"
        )


def _joined(ids: Sequence[str]) -> tuple[bytes, Rows, int]:
    """Return the bytes of all ids, where each ends, and the bytes between two."""
    text = "\0".join(ids)
    if text.isascii() and text.count("\0") == len(ids) - 1:
        raw = (text + "\0").encode("ascii")
        return raw, np.flatnonzero(np.frombuffer(raw, dtype=np.uint8) == 0), 1
    parts = [item.encode("utf-8", "surrogatepass") for item in ids]  # a half of a pair, too
    return b"".join(parts), np.cumsum([len(part) for part in parts], dtype=np.int64), 0
