"""One block of a source's images: what a worker of a distributed build makes one shard of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from patchrerank.addresses import place_of
from patchrerank.errors import GalleryError
from patchrerank.gallery.manifest import PictureRecord
from patchrerank.gallery.packed_source import KINDS, PictureFiles
from patchrerank.gallery.places import Packed
from patchrerank.images import ImageSource


class Span(NamedTuple):
    """A part of a file that pictures lie in.

    Attributes:
        file: its name below the source's root.
        held: its size in bytes.
        start: where reading begins: an offset (tar) or a row (Parquet).
        stop: where it ends; None: with the file.
    """

    file: str
    held: int
    start: int
    stop: int | None


@dataclass(frozen=True)
class Block:
    """Images that are one behind the other in a source; a source itself, and small to send.

    Attributes:
        root: the folder that ids, or files of pictures, are relative to.
        pairs: ``(id, picture)``; empty where pictures lie in other files.
        spans: where they lie there.
        read_by: how they are read there; None: there are none.
        id_type: what ids are.
        length: how many images there are; of Parquet files, rows.
        known: a gallery of plain vectors, whose images are not encoded again.
        sample: of how many images at most it is a sample, which has text for ids; 0: it is none.
    """

    root: str | None
    pairs: tuple[tuple[str, ImageSource], ...] = ()
    spans: tuple[Span, ...] = ()
    read_by: PictureRecord | None = None
    id_type: str = "text"
    length: int = 0
    known: Path | None = None
    sample: int = 0

    def __str__(self) -> str:
        if self.pairs:
            return f"{self.pairs[0][0]!r} to {self.pairs[-1][0]!r}"
        unit = "byte" if self.read_by is None or self.read_by.kind == "tar" else "row"
        first, last = self.spans[0], self.spans[-1]
        end = "its end" if last.stop is None else f"{unit} {last.stop:,}"
        return f"{first.file} from {unit} {first.start:,} on, to {end} in {last.file}"

    @property
    def pictures(self) -> PictureRecord | None:
        """How pictures that lie in other files are read; a sample does not say."""
        return None if self.sample else self.read_by

    def count(self, before: PictureRecord | None) -> int | None:
        """Return how many images there are."""
        return self.length

    def items(self, before: PictureRecord | None) -> Iterator[tuple[Any, ImageSource | Packed]]:
        """Yield ``(id, picture)``, of files from where reading ended before.

        Raises:
            GalleryError: a file has changed since the source was cut into blocks.
        """
        if self.sample:
            found = ((str(image_id), picture) for image_id, picture in self._packed(before))
            return islice(found, self.sample)
        return self._packed(before) if self.spans else iter(self.pairs)

    def _packed(self, before: PictureRecord | None) -> Iterator[tuple[Any, Packed]]:
        read = {name: end for name, _, end in before.files} if before else {}
        record = self.read_by
        assert record is not None
        reader: PictureFiles = KINDS[record.kind](record)
        for span in self.spans:
            path = place_of(self.root or "") / span.file
            if path.stat().st_size != span.held:
                raise GalleryError(
                    f"{path}: has changed since the pictures were cut into blocks ({span.held:,} "
                    f"bytes then, {path.stat().st_size:,} now); restore it, or index into another "
                    "folder"
                )
            start = max(span.start, read.get(span.file, 0))
            for image_id, picture in reader.walk(span.file, path, start):
                if span.stop is not None and picture.place.at >= span.stop:
                    break
                yield image_id, picture
