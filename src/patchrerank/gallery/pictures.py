"""The pictures of a gallery, whatever they lie in, and whether they are where they should be."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np

from patchrerank.addresses import Address, is_address, place_of
from patchrerank.addresses import Place as FilePlace
from patchrerank.errors import GalleryError, ImageError
from patchrerank.gallery.arrays import Array
from patchrerank.gallery.ids import Ids
from patchrerank.gallery.manifest import Manifest
from patchrerank.gallery.named_files import NamedFiles
from patchrerank.gallery.packed_source import KINDS, PictureFiles
from patchrerank.gallery.places import Place
from patchrerank.gallery.shards import Shards
from patchrerank.images import PictureBytes, upright_size
from patchrerank.types import Rows

MOST_LOOKED_AT = 32
"""Pictures whose size is compared, spread over the gallery."""
MOVED = (
    "if the gallery's pictures have moved, open it with Gallery(folder, root=FOLDER) (--root "
    "FOLDER); if its ids are no paths, say where the files are (record_files of "
    "patchrerank.gallery); if they were never files, pass them: sources={row: picture} of "
    "build_local, images={id: picture} of a reranker"
)


class Pictures:
    """The picture of each row, as ``read_image`` takes it; safe under threads.

    Args:
        manifest: of the gallery.
        ids: of its N rows.
        places: int64 ``(N, 3)``, where each picture lies in which file; None: each is a file.
        root: the folder that they are in now; None: where they were.
        named: files of images whose ids are no paths.
    """

    def __init__(
        self,
        manifest: Manifest,
        ids: Ids,
        places: Array | None,
        root: str | os.PathLike[str] | Address | None = None,
        named: NamedFiles | None = None,
    ) -> None:
        self._ids, self._places, self._record = ids, places, manifest.pictures
        self._moved, self._named = root is not None, named
        self._root = place_of(root if root is not None else manifest.root or "")

    def __getitem__(self, row: int) -> Path | PictureBytes:
        """Return the file of a row's picture, or its bytes: of one at an address, or in a file.

        Raises:
            ImageError: it is not there; says what to do.
            GalleryError: the gallery names a file that it does not know.
        """
        try:
            return self.look(row)
        except FileNotFoundError as error:
            raise ImageError(f"{error.filename}: no such file (row {row}); {MOVED}") from error

    def look(self, row: int) -> Path | PictureBytes:
        """Return the same, with errors that say nothing about what to do.

        Raises:
            FileNotFoundError: there is no such file.
            ImageError: it holds another picture, or cannot be read.
            GalleryError: as above.
        """
        path = self.path(row)
        if isinstance(path, Address) and self._record is None:
            return PictureBytes(path.read_bytes(), str(path))
        if isinstance(path, Path) and not path.is_file():
            raise FileNotFoundError(2, "no such file", str(path))
        if self._record is None:
            return cast(Path, path)
        try:
            return self._reader.read(path, self._place(row))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error

    def path(self, row: int) -> FilePlace:
        """Return the file that a row's picture is, or lies in."""
        if self._record is not None:
            return self._root / self._place(row).file
        name = str(self._ids[row])
        if self._named is not None and name in self._named.files:
            below = self._root if self._moved else Path(self._named.root)
            return below / self._named.files[name]
        if is_address(name):
            return Address(name)
        if isinstance(self._root, Address):
            return self._root / name
        inside = Path(name)
        return self._root / (inside.relative_to(self._common) if self._common else inside)

    def nbytes(self, row: int) -> float:
        """Return the size in bytes of a row's picture; NaN where it is not there."""
        if self._record is not None:
            return self._place(row).size
        path = self.path(row)
        return path.stat().st_size if path.is_file() else float("nan")

    @cached_property
    def _reader(self) -> PictureFiles:
        assert self._record is not None
        return KINDS[self._record.kind](self._record)

    @cached_property
    def _common(self) -> str:
        """The folder that all ids lay in, if they are absolute paths and have moved."""
        ids = [str(image_id) for image_id in self._ids.living()] if self._moved else []
        if not ids or not all(map(os.path.isabs, ids)):
            return ""
        return os.path.commonpath([os.path.dirname(image_id) for image_id in ids])

    def place(self, row: int) -> Place | None:
        """Return where a row's picture lies in another file; None: it is a file.

        Raises:
            GalleryError: the gallery names a file that it does not know.
        """
        return None if self._record is None else self._place(row)

    def _place(self, row: int) -> Place:
        assert self._record is not None
        assert self._places is not None
        number, at, size = (int(value) for value in self._places[row])
        if not 0 <= number < len(self._record.files):
            raise GalleryError(
                f"places: row {row} names file {number} of {len(self._record.files)}; restore the "
                "gallery or index again"
            )
        name, held, read = self._record.files[number]
        return Place(name, held, at, size, read)


class ShardPictures(Pictures):
    """The pictures of a gallery of shards: those of each shard, by row of the gallery."""

    def __init__(
        self, shards: Shards, root: str | os.PathLike[str] | Address | None = None
    ) -> None:
        self._shards, self._below = shards, root
        self._opened: dict[int, Pictures] = {}

    def look(self, row: int) -> Path | PictureBytes:
        """Return the file of a row's picture, or its bytes."""
        pictures, own = self._of(row)
        return pictures.look(own)

    def path(self, row: int) -> FilePlace:
        """Return the file that a row's picture is, or lies in."""
        pictures, own = self._of(row)
        return pictures.path(own)

    def nbytes(self, row: int) -> float:
        """Return the size in bytes of a row's picture; NaN where it is not there."""
        pictures, own = self._of(row)
        return pictures.nbytes(own)

    def place(self, row: int) -> Place | None:
        """Return where a row's picture lies in another file; None: it is a file."""
        pictures, own = self._of(row)
        return pictures.place(own)

    def _of(self, row: int) -> tuple[Pictures, int]:
        number, own = self._shards.place_of(row)
        if number not in self._opened:
            self._opened[number] = self._shards[number].pictures_below(self._below)
        return self._opened[number], own


def check_root(gallery: Path, pictures: Pictures, sizes: Array, root: object, live: Rows) -> None:
    """Refuse a folder that a gallery's pictures are not in.

    Args:
        gallery: its folder, for messages.
        pictures: where they should be.
        sizes: int ``(N, 2)``, width and height of each upright picture; 0 where unknown.
        root: the folder, for messages.
        live: int64 ``(n,)``, the rows that are there.

    Raises:
        GalleryError: some are missing there, or have another size (up to 32 are looked at).
    """
    refused = f"{root}: is not where the pictures of {gallery} are"
    some = np.unique(np.linspace(0, len(live) - 1, min(len(live), MOST_LOOKED_AT)).round())
    for row in live[some.astype(int)].tolist():
        try:
            size = upright_size(pictures.look(row), max_pixels=None)
        except FileNotFoundError as error:
            raise GalleryError(f"{refused}: {error.filename}: no such file") from error
        except ImageError as error:
            raise GalleryError(f"{refused}: {error}") from error
        if sizes[row].any() and size != tuple(int(side) for side in sizes[row]):
            raise GalleryError(
                f"{refused}: {pictures.path(row)} has {size[0]} × {size[1]} pixels, the gallery's "
                f"picture had {sizes[row][0]} × {sizes[row][1]}"
            )
