"""Reading a gallery: memory-mapped, read-only, opened in milliseconds."""

from __future__ import annotations

import os
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from patchrerank.addresses import Address, place_of
from patchrerank.boxes import NO_BOX, Floats
from patchrerank.errors import GalleryError, described
from patchrerank.gallery.arrays import Array
from patchrerank.gallery.backgrounds import KeepsBackgrounds
from patchrerank.gallery.ends import checked_ends
from patchrerank.gallery.id_lookup import FindsIds
from patchrerank.gallery.identity import check_space
from patchrerank.gallery.live_arrays import CUT_BY
from patchrerank.gallery.local_opening import open_local
from patchrerank.gallery.local_store import LocalStore
from patchrerank.gallery.manifest import BUILDING, MANIFEST, NO_REGIONS, REMOVED, Manifest
from patchrerank.gallery.manifest_reading import read_manifest, settled
from patchrerank.gallery.mapped import READ_WHOLE
from patchrerank.gallery.named_files import read_named_files
from patchrerank.gallery.pictures import Pictures, ShardPictures, check_root
from patchrerank.gallery.places import PLACES
from patchrerank.gallery.removed_rows import Flags, flags_of
from patchrerank.gallery.rows_ahead import RowsAhead
from patchrerank.gallery.stores import open_store
from patchrerank.kernels.code_stores import PQStore, RabitqStore
from patchrerank.kernels.segments import plain
from patchrerank.kernels.stores import RescoredStore
from patchrerank.types import Queries, Rows

if TYPE_CHECKING:
    from patchrerank.encoders import Whitening
    from patchrerank.kernels import Store
    from patchrerank.kernels.requests import PatchRequests

WHITENING = "whitening.npz"
LOCAL = "local"


class Gallery(FindsIds, KeepsBackgrounds):
    """The database side on disk: ids, global vectors, patch vectors, boxes.

    Rows are image numbers 0 … N−1 in the order of indexing; ``len(gallery)`` is N. A row that was
    removed keeps its number until the gallery is compacted; :attr:`live` are the others. What is
    open keeps its state, whatever is changed meanwhile. Nothing is read before it is used:
    opening checks the manifest, key by key, and that every file is there and long enough. Ids and
    counts of patches are read, with their checksums, when they are first used. Vectors, boxes and
    sizes are believed; only :func:`patchrerank.gallery.verify` (``info --verify``) reads them all.

    Of one of shards, a shard is opened when one of its images is first used; its arrays are
    :class:`~patchrerank.kernels.segments.Segments`, read by rows and slices.

    Args:
        folder: a directory written by :func:`patchrerank.gallery.build_gallery` or
            :func:`patchrerank.gallery.merge`.
        root: the folder that its pictures are in now, where they have moved since (some of them
            are looked at); None: where they were.
        rescore: where finer rows lie beside codes (``rabitq2+int8``): how many candidates of a
            query are scored again by them; None: 60.

    Raises:
        GalleryError: not a gallery, half-written, damaged, or of another format; or its pictures
            are not in ``root``. Later: a shard is missing, or was changed since.
        SettingError: ``rescore`` below 0, or beside a store without finer rows.
    """

    manifest: Manifest

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        root: str | os.PathLike[str] | Address | None = None,
        rescore: int | None = None,
    ) -> None:
        if not isinstance(folder, str | os.PathLike):
            raise GalleryError(f"a gallery is opened by its folder, not by {described(folder)}")
        self.folder = Path(folder)
        if not (self.folder / MANIFEST).is_file() and (self.folder / BUILDING).is_file():
            raise GalleryError(
                f"{self.folder}: this gallery is half-written; run the same index command again "
                "to finish it"
            )
        begin, path = super().__init__, self.folder / MANIFEST
        use = lambda made: begin(self.folder, made.arrays, made.shards)  # noqa: E731
        self.manifest = settled(lambda: read_manifest(path), use)
        self._root = None if root is None else place_of(root).absolute()
        self._rescore = rescore
        if rescore is not None:
            _ = self.patch_store  # it fits, or is refused
        if root is not None:
            check_root(self.folder, self.pictures, self.sizes, root, self.live)

    def __reduce__(self) -> tuple[Any, ...]:
        make, given = super().__reduce__()
        if self._root is None and self._rescore is None:
            return make, given
        here = partial(type(self), root=self._root, rescore=self._rescore)  # opened again so
        return (
            here if make is type(self) else make,
            tuple(here if isinstance(item, type) else item for item in given),
        )

    def __repr__(self) -> str:
        made, gone = self.manifest, len(self) - self.live_count
        removed = f" ({gone} rows removed)" * bool(gone)
        parts = f", {len(self.shards)} shards" if self.shards else ""
        return (
            f"Gallery({str(self.folder)!r}: {self.live_count} images{removed}, {made.patches} "
            f"patches, {made.dim}-d {made.store}, {made.regions}{parts})"
        )

    @cached_property
    def removed(self) -> Flags:
        """bool ``(N,)``: which rows were removed."""
        held = self.sound_array(REMOVED) if REMOVED in self._arrays else None
        return flags_of(held, len(self))

    @cached_property
    def live_count(self) -> int:
        """How many images there are: rows that were not removed."""
        return len(self) - (int(self.removed.sum()) if REMOVED in self._arrays else 0)

    @cached_property
    def live(self) -> Rows:
        """int64 ``(live_count,)``: the rows that were not removed, rising."""
        return np.flatnonzero(~self.removed)

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
        return open_store(self.manifest.store, self._arrays, self._rescore)

    @cached_property
    def patch_requests(self) -> PatchRequests | None:
        """What rescores single lists by their best patches; None for codes, which it cannot."""
        from patchrerank.kernels.requests import PatchRequests

        store = self.patch_store
        if isinstance(store, PQStore | RabitqStore | RescoredStore):
            return None
        boxes = plain(self.floats("boxes")) if self.has_boxes else None
        return PatchRequests(store, self.patch_ends, boxes)

    @cached_property
    def rows_ahead(self) -> RowsAhead:
        """What asks the system ahead for the patches of rows that lie on a disk."""
        names = [name for name, ends in CUT_BY.items() if ends == "patch_ends"]
        names = [name for name in names if not name.startswith("exact_")]  # of few candidates
        held = [plain(self.array(name)) for name in names if name in self._arrays]
        return RowsAhead(self.patch_ends, held)

    @cached_property
    def patch_ends(self) -> Rows:
        """int64 ``(N,)``: patches of image n end before ``patch_ends[n]``.

        Raises:
            GalleryError: their checksum differs, or they do not rise to the number of patches.
        """
        ends = self.array("patch_ends")
        if self.shards is not None or ends.nbytes > READ_WHOLE:
            return cast(Rows, plain(ends))
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

    def first_used(self, name: str) -> Array:
        """Return an array after what is checked when it is first used."""
        _ = self.ids if name in ("ids", "id_ends") else None
        return self.patch_ends if name == "patch_ends" else self.array(name)

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

    @cached_property
    def pictures(self) -> Pictures:
        """The picture of each row, a file or the bytes of one, below ``root`` now."""
        return self.pictures_below(self._root)

    def pictures_below(self, root: str | os.PathLike[str] | Address | None) -> Pictures:
        """Return the pictures as they lie below a folder; None: where they were read."""
        if self.shards is not None:
            return ShardPictures(self.shards, root)
        named = read_named_files(self.place)
        return Pictures(self.manifest, self.ids, self._arrays.get(PLACES), root, named)

    def check_queries(self, queries: Queries) -> None:
        """Refuse queries that do not live in this gallery's space, by a ``QueryError``."""
        check_space(self.folder, self.manifest, queries)
