"""Writing a gallery chunk by chunk, so that a killed run can be resumed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

import numpy as np

from patchrerank.addresses import place_of
from patchrerank.boxes import Floats
from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery.arrays import ArrayFiles, open_array
from patchrerank.gallery.backgrounds import forget_backgrounds
from patchrerank.gallery.folder import check_empty, drop_stale, lock_folder, writing
from patchrerank.gallery.id_table import ID_TABLE, write_table
from patchrerank.gallery.image_rows import ImageRows, image_columns
from patchrerank.gallery.manifest import BUILDING, MANIFEST, REMOVED, SYNCED, Manifest
from patchrerank.gallery.manifest_reading import read_manifest
from patchrerank.gallery.pictures import Pictures, check_root
from patchrerank.gallery.places import Place
from patchrerank.gallery.progress import Progress, complete_state, newest_state
from patchrerank.gallery.removed_rows import Flags, removed_flags, sweep, write_flags
from patchrerank.gallery.settings import (
    centroids_of,
    check_settings,
    ids_of,
    new_manifest,
    newly_gone,
    roots_differ,
    whitening_of,
)
from patchrerank.gallery.stamps import STAMPS, STAMPS_RECORD, Stamp, write_stamps
from patchrerank.gallery.stores import UNTRAINED, split_store
from patchrerank.gallery.superseded import superseded
from patchrerank.types import Rows

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder, Whitening
    from patchrerank.gallery.build_options import BuildOptions
    from patchrerank.gallery.manifest import PictureRecord
    from patchrerank.regions import Regions


def open_writer(
    folder: Path,
    encoder: Encoder,
    regions: Regions,
    options: BuildOptions,
    chunk: int,
    pictures: PictureRecord | None = None,
    id_type: str = "text",
) -> GalleryWriter:
    """Start a gallery in an empty or absent folder, or take up one that is there.

    ``pictures`` and ``id_type`` are those of a new one.

    Raises:
        GalleryError: a complete gallery without ``append``, other settings, foreign files, or
            another process at work.
    """
    lock = lock_folder(folder)
    try:
        new = new_manifest(encoder, regions, options, chunk, pictures=pictures, id_type=id_type)
        return _take_up(folder, encoder, regions, options, new, lock)
    except BaseException:
        lock.close()
        raise


def _take_up(
    folder: Path,
    encoder: Encoder,
    regions: Regions,
    options: BuildOptions,
    new: Manifest,
    lock: IO[bytes],
) -> GalleryWriter:
    drop_stale(folder)
    begun, complete = folder / BUILDING, folder / MANIFEST
    if not begun.exists() and not complete.exists():
        check_empty(folder)
        if split_store(options.store or "")[0] == "pq":
            raise SettingError(UNTRAINED)
        return GalleryWriter(folder, new, None, lock)
    if not begun.exists() and not options.append:
        raise GalleryError(
            f"{folder}: this gallery is complete; pass append=True (--append) to add images"
        )
    manifest = newest_state(folder) if begun.exists() else read_manifest(complete)
    manifest = check_settings(folder, manifest, encoder, regions, options)
    return GalleryWriter(folder, manifest, whitening_of(folder, manifest), lock)


class GalleryWriter:
    """Appends images to a gallery directory; use as a context manager.

    Each :meth:`commit` is all or nothing: rows count once ``building.json`` names them. Readers
    see all of them, and that older rows of the same ids are gone, in one moment: :meth:`finish`.

    Attributes:
        complete: what ``manifest.json`` says, which readers see; None: there is none yet.
        progress: the images that are there, and how far files of pictures were read.
        done: the row of each id that is there; -1: it was skipped.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, whitening: Whitening | None, lock: IO[bytes]
    ) -> None:
        self.folder = folder
        self.complete = complete_state(folder)
        self._kept = {REMOVED: manifest.arrays[REMOVED]} if REMOVED in manifest.arrays else {}
        growing = manifest.arrays.keys() - {ID_TABLE, REMOVED}
        arrays = {name: one for name, one in manifest.arrays.items() if name in growing}
        self.manifest = manifest
        self._whitening = whitening
        self._lock = lock
        self._centroids = centroids_of(folder, manifest)
        with writing(folder, manifest.images):
            self._files = ArrayFiles(folder, {**arrays, STAMPS: arrays.get(STAMPS, STAMPS_RECORD)})
            if STAMPS not in arrays:  # of a gallery of before there were any
                self._files.append({STAMPS: np.zeros((manifest.images, 4), np.int64)})
                self._files.flush()
        self.manifest = self._counted()
        self.progress = Progress(folder, manifest, self.live)
        self.done = self.progress.done

    def __enter__(self) -> GalleryWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()
        self._lock.close()

    @property
    def gone(self) -> Flags:
        """bool ``(N,)``: the rows that do not count."""
        first = 0 if self.complete is None else self.complete.images
        return superseded(self.folder, self.manifest, first)

    @property
    def live(self) -> Rows:
        """int64 ``(n,)``: the rows that count."""
        return np.flatnonzero(~self.gone)

    def root_conflict(self, root: str | None) -> bool:
        """Return whether images of another folder are already in the gallery."""
        return roots_differ(self.manifest, root)

    def move_root(self, root: str | Path) -> None:
        """Take up that the images have moved to another folder.

        Raises:
            GalleryError: they are not there, or their ids are not relative to a folder.
        """
        if self.manifest.images == 0:
            return
        if self.manifest.root is None:
            raise GalleryError(
                f"{self.folder}: its ids are not relative to a folder, so no root goes with an "
                "append; pass the images under the ids that they have"
            )
        sizes = open_array(self.folder, "sizes", self.manifest.arrays["sizes"])
        ids = ids_of(self.folder, self.manifest)
        pictures = Pictures(self.manifest, ids, self.progress.places, root)
        check_root(self.folder, pictures, sizes, root, self.live)
        self.set_root(str(place_of(root).resolve()))

    def set_root(self, root: str | None) -> None:
        """Record the folder that ids are relative to."""
        self.manifest = replace(self.manifest, root=root)

    def replan(self, manifest: Manifest, whitening: Whitening) -> None:
        """Take another plan, whose vectors are whitened; before the first image."""
        self._files.close()
        self.manifest, self._whitening = manifest, whitening
        self._files = ArrayFiles(self.folder, manifest.arrays)

    def whitened(self, vectors: Floats) -> Floats:
        """Return an encoder's vectors ``(N, D)`` as they are stored, float32 ``(N, d)``.

        Raises:
            VectorError: the gallery is whitened, and one has no direction then.
        """
        return vectors if self._whitening is None else self._whitening.apply(vectors)

    def commit(
        self,
        rows: Sequence[ImageRows],
        skipped: Sequence[tuple[str, str]] = (),
        read: Sequence[Place] = (),
    ) -> None:
        """Add images, images that were skipped with their reasons, and how far files were read."""
        with writing(self.folder, self.manifest.images):
            self._commit(rows, skipped, read)

    def _commit(
        self,
        rows: Sequence[ImageRows],
        skipped: Sequence[tuple[str, str]],
        read: Sequence[Place],
    ) -> None:
        self.progress.note(rows, self.manifest.images, read)
        columns = image_columns(rows, self.manifest, self._centroids, self.progress.numbers)
        for ends, cut in (("id_ends", "ids"), ("patch_ends", "patches")):
            columns[ends] = columns[ends] + self._files.rows(cut)
        self._files.append(columns)
        durable = self._files.flush()
        committed = {str(item.image_id) for item in rows} | {name for name, _ in skipped}
        committed |= self.progress.tried_again(read)
        before = [entry for entry in self.manifest.skipped if entry[0] not in committed]
        counted = self._counted()
        pictures = self.progress.pictures()
        self.manifest = replace(counted, skipped=(*before, *skipped), pictures=pictures)
        self.manifest.write(self.folder / BUILDING, durable=durable)
        if durable:
            self.manifest.write(self.folder / SYNCED)

    def finish(self, gone: Collection[int] = (), stamps: Mapping[int, Stamp] | None = None) -> None:
        """Declare the gallery complete, ``gone`` rows removed, others with the stamps given."""
        with writing(self.folder, self.manifest.images):
            self._files.flush(durable=True)
            whole = self._with_flags(self._counted(), gone)
            whole = write_stamps(self.folder, whole, stamps or {})
            table = None if self.complete is None else self.complete.arrays.get(ID_TABLE)
            self.manifest = write_table(self.folder, whole, table)
            self.manifest.write(self.folder / BUILDING)
            (self.folder / SYNCED).unlink(missing_ok=True)
            forget_backgrounds(self.folder, partial(newly_gone, self.folder, self.complete, whole))
            (self.folder / BUILDING).replace(self.folder / MANIFEST)
            sweep(self.folder, self.manifest.arrays)

    def _counted(self) -> Manifest:
        return self.manifest.with_arrays({**self._files.records, **self._kept})

    def _with_flags(self, whole: Manifest, gone: Collection[int]) -> Manifest:
        flags = superseded(self.folder, whole, self.complete.images if self.complete else 0)
        flags[list(gone)] = True
        same = np.array_equal(flags, removed_flags(self.folder, whole))
        return whole if same else write_flags(self.folder, whole, flags)
