"""Where a picture lies that is no file of its own: which file, and where in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from patchrerank.errors import ImageError
from patchrerank.gallery.manifest import ArrayRecord
from patchrerank.images import PictureBytes

FILES = {"tar": "tar shards", "parquet": "Parquet files"}
"""Kinds of files that pictures lie in, by suffix, in words."""
PLACES = "places"
PLACES_RECORD = ArrayRecord("<i8", (0, 3))
"""Of each image the number of its file, and ``at`` and ``size`` of its :class:`Place`."""


class Place(NamedTuple):
    """Where one picture lies.

    Attributes:
        file: its path relative to the gallery's root.
        held: the file's size in bytes when it was read.
        at: an offset in bytes (tar) or a row (Parquet).
        size: of the picture, in bytes.
        after: where reading goes on behind it: an offset or a row.
    """

    file: str
    held: int
    at: int
    size: int
    after: int


@dataclass(frozen=True)
class Packed:
    """A picture in another file, which is read when it is its turn.

    Attributes:
        place: where it lies.
        load: reads it.
        fault: why it cannot be had, where that is known; empty otherwise.
    """

    place: Place
    load: Callable[[], PictureBytes] | None
    fault: str = ""

    def read(self) -> PictureBytes:
        """Return its bytes.

        Raises:
            ImageError: it cannot be had.
        """
        if self.load is None:
            raise ImageError(self.fault)
        return self.load()
