"""Pictures as encoded bytes in a column of Parquet files.

img2dataset writes ``key`` and ``jpg``; Hugging Face datasets an ``image`` of ``bytes`` and
``path``. Rows are read a few at a time, whatever the size of a row group.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np

from patchrerank.addresses import Address
from patchrerank.addresses import Place as FilePlace
from patchrerank.errors import GalleryError, ImageError, PatchRerankError, short_reason
from patchrerank.gallery.arrow_files import arrow
from patchrerank.gallery.manifest import PictureRecord
from patchrerank.gallery.parquet_columns import (
    FILE_ROW,
    check_pages,
    column_of,
    id_column,
    id_type,
    image_column,
    leaves_of,
)
from patchrerank.gallery.places import Packed, Place
from patchrerank.images import PictureBytes

AT_ONCE = 16
"""Rows whose pictures are in memory together."""
BUFFER = 1 << 20
FAULTS = (OSError, ValueError, LookupError)
"""What pyarrow raises besides its own for a damaged file, and we for one that has changed."""
WHOLE = 1 << 63
AGAIN = "copy or download it again, or leave it out with on_error='skip' (--on-error skip)"


class ParquetPictures:
    """Reads the pictures of Parquet files; safe under threads.

    Args:
        record: says which columns hold ids and pictures.
        left_out: counts rows without a picture.
    """

    changes = False
    """What was found in a file is nowhere once the file is another."""

    def __init__(self, record: PictureRecord, left_out: Counter[str] | None = None) -> None:
        self._record = record
        self._left_out = Counter[str]() if left_out is None else left_out
        self._lock = threading.Lock()
        self._open: tuple[FilePlace, Any, list[int]] | None = None
        self._group = -1
        self._coming: Iterator[tuple[int, list[Any]]] = iter(())
        self._near = deque[tuple[int, list[Any]]](maxlen=2)

    @staticmethod
    def plan(
        files: Sequence[tuple[str, FilePlace]], ids: str | None, column: str | None, *, strict: bool
    ) -> tuple[PictureRecord, str, int | None]:
        """Return how files are read, the type of their ids, and how many rows there are.

        Args:
            files: name and path of each.
            ids: column of ids, or ``file/row``; None: found by name.
            column: of the pictures' bytes; None: found by its type, and by name among several.
            strict: refuse files that cannot be opened.

        Raises:
            GalleryError: a file cannot be opened, lacks a column or has one of another type, or
                the type of ids changes.
            MissingExtraError: pyarrow is not installed.
        """
        record, kind, rows = PictureRecord("parquet", ids or "", column or ""), "", 0
        first: FilePlace | None = None
        for _, path in files:
            try:
                file = _opened(path)
            except GalleryError:
                if strict:
                    raise
                continue
            rows += file.metadata.num_rows
            leaves = leaves_of(file.schema_arrow)
            column = image_column(leaves, record.column or None, path)
            check_pages(file, column, path)
            ids = id_column(leaves, record.ids or None, path)
            here = "text" if ids == FILE_ROW else id_type(leaves[ids], ids, path)
            record, kind, first = PictureRecord("parquet", ids, column), kind or here, first or path
            if here != kind:
                raise GalleryError(
                    f"{path}: the column {ids!r} is {leaves[ids]} ({here}), that of {first} is "
                    f"{kind}; all ids must be of one kind"
                )
        return record, kind or "text", rows

    def walk(self, name: str, path: FilePlace, start: int = 0) -> Iterator[tuple[Any, Packed]]:
        """Yield the pictures of a file with their ids, from a row on, read already.

        A row group that is damaged gives one picture that cannot be had.
        """
        held, first = path.stat().st_size, 0
        try:
            file = _opened(path)
        except GalleryError as error:
            yield name, Packed(Place(name, held, 0, 0, 0), None, str(error))
            return
        for group in range(file.num_row_groups):
            behind = first + file.metadata.row_group(group).num_rows
            coming = max(first, start)
            try:
                for row, key, content in self._rows(file, group, first):
                    if row >= start:
                        yield from self._picture(name, path, row, key, content, held)
                        coming = row + 1
            except (*FAULTS, arrow().ArrowException) as error:
                rows = f"rows {coming} to {behind - 1}"
                fault = f"{path}: {rows} cannot be read ({short_reason(error)}); {AGAIN}"
                yield f"{name}/{coming}", Packed(Place(name, held, coming, 0, behind), None, fault)
            first = behind

    def read(self, path: FilePlace, place: Place) -> PictureBytes:
        """Return the bytes of a picture; rows that follow each other are read once.

        Raises:
            ImageError: the file is another, or damaged.
            OSError: the file cannot be read.
        """
        where = f"{path}: row {place.at}"
        try:
            with self._lock:
                content = self._value(path, place)
        except (
            PatchRerankError,
            OSError,
            ValueError,
            LookupError,
            arrow().ArrowException,
        ) as error:
            self._open = None
            raise ImageError(f"{where} cannot be read ({short_reason(error)})") from error
        if content is None or len(content) != place.size:
            raise ImageError(f"{where}: holds another picture than the one that was indexed")
        return PictureBytes(content, where)

    def _rows(self, file: Any, group: int, first: int) -> Iterator[tuple[int, Any, bytes | None]]:
        """Yield row, id and bytes of the pictures of a row group."""
        ids, column = self._record.ids, self._record.column
        wanted = [column] if ids == FILE_ROW else [ids, column]
        batches = file.iter_batches(AT_ONCE, [group], wanted, use_threads=False)
        for batch in batches:
            keys = [None] * len(batch) if ids == FILE_ROW else column_of(batch, ids).to_pylist()
            contents = column_of(batch, column).to_pylist()
            for number, (key, content) in enumerate(zip(keys, contents, strict=True), first):
                yield number, key, content
            first += len(batch)

    def _picture(
        self, name: str, path: FilePlace, row: int, key: Any, content: bytes | None, held: int
    ) -> Iterator[tuple[Any, Packed]]:
        if content is None:
            self._left_out["rows without a picture"] += 1
            return
        place, named = Place(name, held, row, len(content), row + 1), f"{name}/{row}"
        if self._record.ids == FILE_ROW:
            key = f"{name.removesuffix('.parquet')}/{row}"
        key = UUID(bytes=key) if isinstance(key, bytes) else key
        if key in (None, "") or (isinstance(key, int) and key >= WHOLE):
            why = "has no id" if key in (None, "") else f"has the id {key}, over 64 bits"
            fault = f"{path}: row {row} {why} (column {self._record.ids!r})"
            yield named, Packed(place, None, fault)
            return
        yield key, Packed(place, partial(PictureBytes, content, f"{path}: row {row}"))

    def _value(self, path: FilePlace, place: Place) -> bytes | None:
        if self._open is None or self._open[0] != path:
            if path.stat().st_size != place.held:
                raise ValueError("the file has changed since it was indexed")
            file = _opened(path)
            counts = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
            self._open, self._group = (path, file, np.cumsum(counts).tolist()), -1
        _, file, ends = self._open
        group = int(np.searchsorted(ends, place.at, side="right"))
        if group != self._group or place.at < self._near[0][0]:
            self._group, first = group, ends[group - 1] if group else 0
            self._near.clear()
            self._coming = self._batches(file, group, first)
            self._near.append(next(self._coming))
        while place.at >= self._near[-1][0] + len(self._near[-1][1]):
            self._near.append(next(self._coming))
        first, values = next(held for held in reversed(self._near) if held[0] <= place.at)
        content: bytes | None = values[place.at - first]
        return content

    def _batches(self, file: Any, group: int, first: int) -> Iterator[tuple[int, list[Any]]]:
        column = self._record.column
        for batch in file.iter_batches(AT_ONCE, [group], [column], use_threads=False):
            yield first, column_of(batch, column).to_pylist()
            first += len(batch)
        raise LookupError("there is no such row")


def _opened(path: FilePlace) -> Any:
    pyarrow = arrow()
    try:
        return pyarrow.parquet.ParquetFile(
            path.opened() if isinstance(path, Address) else path,
            buffer_size=BUFFER,
            page_checksum_verification=True,
        )
    except (OSError, pyarrow.ArrowException) as error:
        raise GalleryError(
            f"{path}: is no Parquet file, or cut short ({short_reason(error)}); {AGAIN}"
        ) from error
