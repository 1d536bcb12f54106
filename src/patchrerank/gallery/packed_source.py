"""Pictures in tar shards or Parquet files as one stream, which goes on where reading ended."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from patchrerank.addresses import Place as FilePlace
from patchrerank.addresses import below, place_of
from patchrerank.errors import GalleryError
from patchrerank.gallery.id_types import ID_TYPES
from patchrerank.gallery.import_ids import KIND_OF, NAMED
from patchrerank.gallery.manifest import PictureRecord
from patchrerank.gallery.parquet_pictures import ParquetPictures
from patchrerank.gallery.places import Packed, Place
from patchrerank.gallery.tar_pictures import TarPictures
from patchrerank.images import PictureBytes

KINDS: dict[str, type[TarPictures] | type[ParquetPictures]] = {
    "tar": TarPictures,
    "parquet": ParquetPictures,
}
"""Who reads a kind of file, which is also its suffix."""

logger = logging.getLogger(__name__)


class PictureFiles(Protocol):
    """What reads the pictures of one kind of file."""

    changes: bool

    def walk(self, name: str, path: FilePlace, start: int = 0) -> Iterator[tuple[Any, Packed]]:
        """Yield pictures with their ids, from a place on."""
        ...

    def read(self, path: FilePlace, place: Place) -> PictureBytes:
        """Return the bytes of one."""
        ...


@dataclass(frozen=True)
class PackedSource:
    """Pictures in files of one kind.

    Attributes:
        root: folder that the files are relative to.
        files: their names below it, in order.
        pictures: how they are read.
        id_type: what ids are.
        rows: how many there are, with those that have no picture; None: not known.
    """

    root: str
    files: tuple[str, ...]
    pictures: PictureRecord
    id_type: str
    rows: int | None
    left_out: Counter[str] = field(default_factory=Counter)

    def count(self, before: PictureRecord | None) -> int | None:
        """Return how many are still to be read."""
        if self.rows is None or before is None:
            return self.rows
        return self.rows - sum(read for name, _, read in before.files if name in self.files)

    def items(self, before: PictureRecord | None) -> Iterator[tuple[Any, Packed]]:
        """Yield pictures with their ids, from where reading ended before.

        Raises:
            GalleryError: a file has changed since, or the type of ids changes.
        """
        held = {name: (size, read) for name, size, read in before.files} if before else {}
        reader: PictureFiles = KINDS[self.pictures.kind](self.pictures, self.left_out)
        for name in self.files:
            path = place_of(self.root) / name
            for image_id, picture in reader.walk(name, path, _start(reader, path, held.get(name))):
                if KIND_OF.get(type(image_id)) != self.id_type and not picture.fault:
                    raise GalleryError(
                        f"{path}: the id {image_id!r} is {NAMED[KIND_OF[type(image_id)]]}, those "
                        f"before it are {ID_TYPES[self.id_type].words}; all must be of one kind"
                    )
                yield image_id, picture
        if self.left_out:
            logger.warning("%s: left out %s", self.root, _counted(self.left_out))


def open_packed(
    files: Sequence[FilePlace],
    root: FilePlace,
    ids: str | None,
    column: str | None,
    *,
    strict: bool,
    before: PictureRecord | None = None,
) -> PackedSource:
    """Open files of pictures.

    Args:
        files: all of one kind, by their suffix.
        root: folder that they lie in.
        ids: what ids are made of; None: as before, or found out.
        column: of the pictures; likewise.
        strict: refuse files that are cut short.
        before: how the gallery's pictures were read so far.

    Raises:
        GalleryError: a file is missing, cut short or has no such column.
        MissingExtraError: Parquet without pyarrow.
    """
    absent = next((path for path in files if not path.is_file()), None)
    if absent is not None:
        raise GalleryError(f"{absent}: no such file")
    kind = files[0].suffix.lower().removeprefix(".")
    if before is not None and before.kind == kind:
        ids, column = ids or before.ids, column or before.column or None
    named = [(below(path, root), path) for path in files]
    record, id_type, rows = KINDS[kind].plan(named, ids, column, strict=strict)
    names = tuple(name for name, _ in named)
    return PackedSource(str(root.resolve()), names, record, id_type, rows)


def from_the_start(record: PictureRecord) -> PictureRecord:
    """Return a record by which all is gone through again."""
    return replace(record, files=tuple((name, size, 0) for name, size, _ in record.files))


def _start(reader: PictureFiles, path: FilePlace, held: tuple[int, int] | None) -> int:
    if held is None:
        return 0
    if path.stat().st_size == held[0]:
        return held[1]
    if not reader.changes:
        raise GalleryError(
            f"{path}: has changed since its pictures were indexed ({held[0]:,} bytes then, "
            f"{path.stat().st_size:,} now); restore it, or index into another folder"
        )
    return 0


def _counted(left_out: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in left_out.most_common() if count)
