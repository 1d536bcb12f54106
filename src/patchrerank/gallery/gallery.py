"""Reading a gallery: memory-mapped, read-only, opened in milliseconds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.boxes import NO_BOX, Floats
from patchrerank.errors import GalleryError, QueryError, described
from patchrerank.gallery.arrays import Array, MappedFolder, array_path, record_bytes
from patchrerank.gallery.ends import checked_ends
from patchrerank.gallery.id_table import ID_TABLE
from patchrerank.gallery.identity import loading_call, other_queries
from patchrerank.gallery.ids import Ids
from patchrerank.gallery.local_store import LocalStore, open_local
from patchrerank.gallery.manifest import BUILDING, MANIFEST, NO_REGIONS, Manifest
from patchrerank.gallery.manifest_reading import settled_manifest
from patchrerank.gallery.moved import check_root, common_folder, picture_below
from patchrerank.gallery.stores import open_store
from patchrerank.search_results import listed_ids
from patchrerank.types import Queries, Rows

if TYPE_CHECKING:
    from patchrerank.encoders import Whitening
    from patchrerank.kernels import Store

WHITENING = "whitening.npz"
LOCAL = "local"
READ_WHOLE = 1 << 25
"""Bytes of ids and counts up to which all are checked before the first is used."""


class Gallery(MappedFolder):
    """The database side on disk: ids, global vectors, patch vectors, boxes.

    Rows are image numbers 0 … N−1 in the order of indexing. Nothing is read before it is used:
    opening checks the manifest, key by key, and that every file is there and long enough. Ids and
    counts of patches are read, with their checksums, when they are first used. Vectors, boxes and
    sizes are believed; only :func:`patchrerank.gallery.verify` (``info --verify``) reads them all.

    Args:
        folder: a directory written by :func:`patchrerank.gallery.build_gallery`.
        root: the folder that its pictures are in now, where they have moved since (some of them
            are looked at); None: where they were.

    Raises:
        GalleryError: not a gallery, half-written, damaged, or of another format; or its pictures
            are not in ``root``.
    """

    manifest: Manifest

    def __init__(
        self, folder: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None
    ) -> None:
        if not isinstance(folder, str | os.PathLike):
            raise GalleryError(f"a gallery is opened by its folder, not by {described(folder)}")
        self.folder = Path(folder)
        if not (self.folder / MANIFEST).is_file() and (self.folder / BUILDING).is_file():
            raise GalleryError(
                f"{self.folder}: this gallery is half-written; run the same index command again "
                "to finish it"
            )
        begin = super().__init__
        self.manifest = settled_manifest(self.folder, lambda made: begin(self.folder, made.arrays))
        self._root = None if root is None else Path(root).absolute()
        if root is not None:
            check_root(self.folder, self.ids, self.sizes, Path(root))

    def __reduce__(self) -> tuple[Any, ...]:
        make, given = super().__reduce__()
        if self._root is None:
            return make, given
        here = partial(type(self), root=self._root)  # opened again where pictures are
        return (
            here if make is type(self) else make,
            tuple(here if isinstance(item, type) else item for item in given),
        )

    def __len__(self) -> int:
        return self.manifest.images

    def __repr__(self) -> str:
        made = self.manifest
        return (
            f"Gallery({str(self.folder)!r}: {made.images} images, {made.patches} patches, "
            f"{made.dim}-d {made.store}, {made.regions})"
        )

    @property
    def dim(self) -> int:
        """Dimensions d of every vector."""
        return self.manifest.dim

    @property
    def global_vectors(self) -> Floats:
        """float32 ``(N, d)``, unit norm: the whole image."""
        return self.floats("globals")

    @property
    def patches(self) -> Array:
        """``(T, d)`` patch vectors of all images one behind the other, in the store's dtype."""
        return self.array("patches")

    @cached_property
    def patch_store(self) -> Store:
        """The patch vectors as the scoring kernels take them."""
        return open_store(self.manifest.store, self._arrays)

    @cached_property
    def patch_ends(self) -> Rows:
        """int64 ``(N,)``: patches of image n end before ``patch_ends[n]``.

        Raises:
            GalleryError: their checksum differs, or they do not rise to the number of patches.
        """
        ends = self.array("patch_ends")
        if ends.nbytes > READ_WHOLE:
            return np.asarray(ends)
        return checked_ends(
            self.folder, "patch_ends", self.sound_array("patch_ends"), self.manifest.patches
        )

    @property
    def boxes(self) -> Floats:
        """float32 ``(T, 4)``: the region of each patch, in [0, 1]; NaN if imported without."""
        if not self.has_boxes:
            return np.broadcast_to(NO_BOX, (self.manifest.patches, 4))
        return self.floats("boxes")

    @property
    def has_boxes(self) -> bool:
        """Whether patches have boxes; those of an import may have none."""
        return self.manifest.regions != NO_REGIONS

    @property
    def sizes(self) -> Array:
        """int32 ``(N, 2)``: width and height in pixels after EXIF rotation; 0 if imported."""
        return self.array("sizes")

    @cached_property
    def ids(self) -> Ids:
        """The N ids, in row order: text, whole numbers or UUIDs.

        Raises:
            GalleryError: their checksum differs, one is empty or no UTF-8, or the ends do not
                rise. Of more than 32 MB this is found where an id is used.
        """
        names = ("ids", "id_ends")
        table = self.array(ID_TABLE) if ID_TABLE in self.manifest.arrays else None
        blob, ends = map(self.array, names)
        ids = Ids(self.folder, blob, ends, self.manifest.id_type, table)
        if sum(self.array(name).nbytes for name in names) <= READ_WHOLE:
            for name in names:
                self.sound_array(name)
            ids.check()
        return ids

    def rows_of(self, ids: Sequence[Any], *, strict: bool = True) -> Rows:
        """Return the row of each id, int64 ``(len(ids),)``; -1 if not held and not ``strict``.

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

    @cached_property
    def _sound_ids(self) -> list[Array]:
        """What ids are looked up in, read once to tell ids that are not held from damage."""
        names = {"ids", "id_ends", ID_TABLE} & set(self.manifest.arrays)
        return [self.sound_array(name) for name in names]

    @cached_property
    def whitening(self) -> Whitening | None:
        """The PCA-whitening applied behind the encoder, if any."""
        if not self.manifest.whitened:
            return None
        from patchrerank.encoders import Whitening

        return Whitening.load(self.place / WHITENING)

    @property
    def has_local(self) -> bool:
        """Whether there are local descriptors, complete or not."""
        return (self.place / LOCAL).is_dir()

    @cached_property
    def local(self) -> LocalStore:
        """The local descriptors of every image, in row order.

        Raises:
            GalleryError: there are none, or not of all images, or of other ones.
        """
        return open_local(self.place / LOCAL, self.folder, self.manifest, self.ids_crc)

    def ids_crc(self, rows: int) -> int:
        """Return the CRC-32 of the ids of the first ``rows`` images, one behind the other."""
        if rows == len(self):
            return self.manifest.arrays["ids"].crc32
        return self.ids.crc_of(rows)

    def image_path(self, row: int) -> Path:
        """Return where the image of ``row`` was read from, or lies below ``root`` now."""
        if self._root is not None:
            return picture_below(self._root, self.ids[row], self._common)
        return Path(self.manifest.root or "") / str(self.ids[row])

    @cached_property
    def _common(self) -> str:
        return common_folder(self.ids)

    def nbytes(self) -> dict[str, int]:
        """Return the size in bytes of each array file."""
        return {name: record_bytes(record) for name, record in self.manifest.arrays.items()}

    def files(self) -> dict[str, Path]:
        """Return the file of each array."""
        records = self.manifest.arrays.items()
        return {name: array_path(self.folder, name, r.generation) for name, r in records}

    def check_queries(self, queries: Queries) -> None:
        """Refuse queries that do not live in this gallery's space.

        Raises:
            QueryError: another dimension, or encoded differently from the gallery.
        """
        made, dim = self.manifest, queries.vectors.shape[1]
        same = queries.encoder in (None, made.identity)
        strange = "" if same else other_queries(self.folder, made, queries.made_by)
        if dim != self.dim:
            whitened = " and the gallery's whitening" if made.whitened else ""
            remedy = f"encode them with {loading_call(made.encoder)}{whitened}"
            raise QueryError(
                f"queries have {dim} dimensions, the gallery {self.folder} has {self.dim}; "
                f"{strange or remedy}"
            )
        if strange:
            raise QueryError(strange)
