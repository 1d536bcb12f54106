"""Writing a gallery chunk by chunk, so that a killed run can be resumed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

import numpy as np

from patchrerank.boxes import Floats
from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery.arrays import ArrayFiles, is_intact, open_array
from patchrerank.gallery.folder import check_empty, drop_stale, lock_folder, writing
from patchrerank.gallery.id_table import ID_TABLE, write_table
from patchrerank.gallery.image_rows import ImageRows, image_columns
from patchrerank.gallery.manifest import BUILDING, MANIFEST, REMOVED, SYNCED, Manifest
from patchrerank.gallery.manifest_reading import read_manifest
from patchrerank.gallery.moved import check_root
from patchrerank.gallery.removed_rows import Flags, removed_flags, sweep, write_flags
from patchrerank.gallery.settings import check_settings, ids_of, new_manifest, whitening_of
from patchrerank.gallery.stamps import STAMPS, STAMPS_RECORD, Stamp, write_stamps
from patchrerank.gallery.stores import UNTRAINED
from patchrerank.gallery.superseded import superseded
from patchrerank.types import Rows

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder, Whitening
    from patchrerank.gallery.build_options import BuildOptions
    from patchrerank.regions import Regions


def open_writer(
    folder: Path, encoder: Encoder, regions: Regions, options: BuildOptions, chunk: int
) -> GalleryWriter:
    """Start a gallery in an empty or absent folder, or take up one that is there.

    Raises:
        GalleryError: a complete gallery without ``append``, other settings, foreign files, or
            another process at work.
    """
    lock = lock_folder(folder)
    try:
        return _take_up(folder, encoder, regions, options, chunk, lock)
    except BaseException:
        lock.close()
        raise


def _take_up(
    folder: Path,
    encoder: Encoder,
    regions: Regions,
    options: BuildOptions,
    chunk: int,
    lock: IO[bytes],
) -> GalleryWriter:
    drop_stale(folder)
    begun, complete = folder / BUILDING, folder / MANIFEST
    if not begun.exists() and not complete.exists():
        check_empty(folder)
        if options.store == "pq":
            raise SettingError(UNTRAINED)
        return GalleryWriter(folder, new_manifest(encoder, regions, options, chunk), None, lock)
    if not begun.exists() and not options.append:
        raise GalleryError(
            f"{folder}: this gallery is complete; pass append=True (--append) to add images"
        )
    manifest = _begun(folder) if begun.exists() else read_manifest(complete)
    manifest = check_settings(folder, manifest, encoder, regions, options)
    return GalleryWriter(folder, manifest, whitening_of(folder, manifest), lock)


class GalleryWriter:
    """Appends images to a gallery directory; use as a context manager.

    Each :meth:`commit` is all or nothing: rows count once ``building.json`` names them. Readers
    see all of them, and that older rows of the same ids are gone, in one moment: :meth:`finish`.

    Attributes:
        complete: what ``manifest.json`` says, which readers see; None: there is none yet.
        done: the ids that are there.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, whitening: Whitening | None, lock: IO[bytes]
    ) -> None:
        self.folder = folder
        self.complete = _complete(folder)
        self._kept = {REMOVED: manifest.arrays[REMOVED]} if REMOVED in manifest.arrays else {}
        growing = manifest.arrays.keys() - {ID_TABLE, REMOVED}
        arrays = {name: one for name, one in manifest.arrays.items() if name in growing}
        self.manifest = manifest
        self._whitening = whitening
        self._lock = lock
        self._centroids = _centroids(folder, manifest)
        with writing(folder, manifest.images):
            self._files = ArrayFiles(folder, {**arrays, STAMPS: arrays.get(STAMPS, STAMPS_RECORD)})
            if STAMPS not in arrays:  # of a gallery of before there were any
                self._files.append({STAMPS: np.zeros((manifest.images, 4), np.int64)})
                self._files.flush()
        self.manifest = self._counted()
        self.done = set(ids_of(folder, manifest).at(self.live))
        if (folder / BUILDING).exists() and manifest.images:
            self.done.update(name for name, _ in manifest.skipped)  # an append tries them again

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
        check_root(self.folder, ids_of(self.folder, self.manifest), sizes, root, self.live)
        self.set_root(str(Path(root).resolve()))

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

    def commit(self, rows: Sequence[ImageRows], skipped: Sequence[tuple[str, str]] = ()) -> None:
        """Add images, and images that were skipped with their reasons."""
        with writing(self.folder, self.manifest.images):
            self._commit(rows, skipped)

    def _commit(self, rows: Sequence[ImageRows], skipped: Sequence[tuple[str, str]]) -> None:
        columns = image_columns(rows, self.manifest, self._centroids)
        for ends, cut in (("id_ends", "ids"), ("patch_ends", "patches")):
            columns[ends] = columns[ends] + self._files.rows(cut)
        self._files.append(columns)
        durable = self._files.flush()
        committed = {item.image_id for item in rows} | {name for name, _ in skipped}
        before = [entry for entry in self.manifest.skipped if entry[0] not in committed]
        counted = self._counted()
        self.manifest = replace(counted, skipped=(*before, *skipped))
        self.manifest.write(self.folder / BUILDING, durable=durable)
        if durable:
            self.manifest.write(self.folder / SYNCED)
        self.done.update(item.image_id for item in rows)
        self.done.update(name for name, _ in skipped)

    def finish(self, gone: Collection[int] = (), stamps: Mapping[int, Stamp] | None = None) -> None:
        """Declare the gallery complete.

        Args:
            gone: rows that are removed.
            stamps: of rows whose files have others now.
        """
        with writing(self.folder, self.manifest.images):
            self._files.flush(durable=True)
            whole = self._with_flags(self._counted(), gone)
            whole = write_stamps(self.folder, whole, stamps or {})
            table = None if self.complete is None else self.complete.arrays.get(ID_TABLE)
            self.manifest = write_table(self.folder, whole, table)
            self.manifest.write(self.folder / BUILDING)
            (self.folder / SYNCED).unlink(missing_ok=True)
            (self.folder / BUILDING).replace(self.folder / MANIFEST)
            sweep(self.folder, self.manifest.arrays)

    def _counted(self) -> Manifest:
        return self.manifest.with_arrays({**self._files.records, **self._kept})

    def _with_flags(self, whole: Manifest, gone: Collection[int]) -> Manifest:
        first = 0 if self.complete is None else self.complete.images
        flags = superseded(self.folder, whole, first)
        flags[list(gone)] = True
        same = np.array_equal(flags, removed_flags(self.folder, whole))
        return whole if same else write_flags(self.folder, whole, flags)


def _begun(folder: Path) -> Manifest:
    """Return the newest state of a build that is whole on the disk (a power cut may lose some)."""
    for name in (BUILDING, SYNCED):
        try:
            manifest = read_manifest(folder / name)
        except GalleryError:
            continue
        if is_intact(folder, manifest.arrays):
            return manifest
    raise GalleryError(
        f"{folder}: the half-written gallery is damaged; delete the folder and index again"
    )


def roots_differ(manifest: Manifest, root: str | None) -> bool:
    """Return whether a gallery holds images of another folder."""
    return manifest.images > 0 and manifest.root != root


def _complete(folder: Path) -> Manifest | None:
    path = folder / MANIFEST
    return read_manifest(path) if path.exists() else None


def _centroids(folder: Path, manifest: Manifest) -> Floats | None:
    record = manifest.arrays.get("pq_centroids")
    if record is None or not record.shape[0]:
        return None
    return np.array(open_array(folder, "pq_centroids", record), dtype=np.float32)
