"""Local descriptors of a gallery of shards: those of each shard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.local_store import LocalStore
from patchrerank.gallery.shard_records import write_local_set
from patchrerank.images import ImageSource


class RowSources(Protocol):
    """Anything that gives the picture of a gallery row: a mapping, or a sequence."""

    def __getitem__(self, row: int, /) -> ImageSource:
        """Return the picture of ``row``."""
        ...


class Build(Protocol):
    """Makes the local descriptors of one folder."""

    def __call__(self, gallery: Gallery, *, sources: RowSources | None) -> object:
        """Build what is missing."""
        ...


def in_shards(gallery: Gallery, sources: RowSources | None, build: Build) -> LocalStore:
    """Build the local descriptors of each shard, then record that the gallery has them.

    Args:
        gallery: of shards.
        sources: the pictures by row of the gallery; None: they are where each shard says.
        build: builds those of one shard.
    """
    parts = list(gallery.shards or ())
    starts = [] if gallery.shards is None else gallery.shards.starts["images"].tolist()
    for part, first in zip(parts, starts, strict=False):
        build(part, sources=None if sources is None else _Behind(sources, first))
    write_local_set(gallery.place, parts, gallery.manifest)
    gallery.__dict__.pop("local", None)  # what was opened before is out of date
    return gallery.local


@dataclass(frozen=True)
class _Behind:
    """The pictures from a row on."""

    sources: RowSources
    first: int

    def __getitem__(self, row: int) -> ImageSource:
        return self.sources[self.first + row]
