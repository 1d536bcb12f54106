"""Writing a gallery chunk by chunk, so that a killed run can be resumed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

import numpy as np

from patchrerank import __version__
from patchrerank.boxes import Floats
from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery.arrays import Array, ArrayWriter, decode_ids, open_array
from patchrerank.gallery.gallery import WHITENING
from patchrerank.gallery.identity import identity_of
from patchrerank.gallery.manifest import (
    BUILDING,
    MANIFEST,
    ArrayRecord,
    Manifest,
    read_manifest,
)
from patchrerank.gallery.stores import UNTRAINED, store_columns, store_records

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder, Whitening
    from patchrerank.gallery.builder import BuildOptions
    from patchrerank.regions import Regions

SYNC_SECONDS = 5.0


@dataclass(frozen=True)
class ImageRows:
    """What is written for one image; boxes ``(P, 4)``, vectors ``(d,)`` and ``(P, d)``."""

    image_id: str
    size: tuple[int, int]
    boxes: Floats
    global_vector: Floats
    patches: Floats


def open_writer(
    folder: Path, encoder: Encoder, regions: Regions, options: BuildOptions, chunk: int
) -> GalleryWriter:
    """Start a gallery in an empty or absent folder, or take up one that is there.

    Raises:
        GalleryError: a complete gallery without ``append``, other settings, foreign files, or
            another process at work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    begun, complete = folder / BUILDING, folder / MANIFEST
    if not begun.exists() and not complete.exists():
        _check_empty(folder)
        if options.store == "pq":
            raise SettingError(UNTRAINED)
        return GalleryWriter(folder, _new_manifest(encoder, regions, options, chunk), None, lock)
    if not begun.exists() and not options.append:
        raise GalleryError(
            f"{folder}: this gallery is complete; pass append=True (--append) to add images"
        )
    if begun.exists():
        manifest = read_manifest(begun)
    else:  # an append tries again what could not be read before
        manifest = replace(read_manifest(complete), skipped=())
    whitening = _whitening(folder, manifest)
    wanted = replace(options, store=options.store or manifest.store)
    _check_plan(folder, manifest, _new_manifest(encoder, regions, wanted, chunk, whitening))
    return GalleryWriter(folder, manifest, whitening, lock)


class GalleryWriter:
    """Appends images to a gallery directory; use as a context manager.

    Each :meth:`commit` is all or nothing: rows count once ``building.json`` names them.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, whitening: Whitening | None, lock: IO[bytes]
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self._whitening = whitening
        self._lock = lock
        self._centroids = _centroids(folder, manifest)
        self._synced = time.monotonic()
        self._files = {
            name: ArrayWriter(folder, name, record) for name, record in manifest.arrays.items()
        }
        self.done = _ids_of(folder, manifest) | {name for name, _ in manifest.skipped}

    def __enter__(self) -> GalleryWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            file.close()
        self._lock.close()

    def root_conflict(self, root: str | None) -> bool:
        """Return whether images of another folder are already in the gallery."""
        return self.manifest.images > 0 and self.manifest.root != root

    def set_root(self, root: str | None) -> None:
        """Record the folder that ids are relative to."""
        self.manifest = replace(self.manifest, root=root)

    def commit(self, rows: Sequence[ImageRows], skipped: Sequence[tuple[str, str]] = ()) -> None:
        """Add images, and images that were skipped with their reasons."""
        for name, values in self._columns(rows).items():
            self._files[name].append(values)
        durable = time.monotonic() - self._synced > SYNC_SECONDS
        self._write(BUILDING, skipped, durable=durable)
        self.done.update(item.image_id for item in rows)
        self.done.update(name for name, _ in skipped)

    def finish(self) -> None:
        """Declare the gallery complete."""
        self._write(MANIFEST, (), durable=True)
        (self.folder / BUILDING).unlink(missing_ok=True)

    def _write(self, target: str, skipped: Sequence[tuple[str, str]], *, durable: bool) -> None:
        for file in self._files.values():
            file.flush(durable=durable)
        if durable:
            self._synced = time.monotonic()
        records = {name: file.record for name, file in self._files.items()}
        listed = (*self.manifest.skipped, *skipped)
        self.manifest = replace(self.manifest.with_arrays(records), skipped=listed)
        self.manifest.write(self.folder / target)

    def _columns(self, rows: Sequence[ImageRows]) -> dict[str, Array]:
        encoded = [item.image_id.encode("utf-8") for item in rows]
        patch_counts = np.array([len(item.boxes) for item in rows], dtype=np.int64)
        id_bytes = np.array([len(item) for item in encoded], dtype=np.int64)
        dim = self.manifest.dim
        empty = np.zeros((0, _width(rows, dim)), dtype=np.float32)
        patches = self._whiten(np.concatenate([empty, *(item.patches for item in rows)]), dim)
        return {
            "ids": np.frombuffer(b"".join(encoded), dtype=np.uint8),
            "id_ends": np.cumsum(id_bytes) + self._files["ids"].record.shape[0],
            "sizes": np.array([item.size for item in rows], dtype=np.int32).reshape(-1, 2),
            "globals": self._whiten(
                np.array([item.global_vector for item in rows], dtype=np.float32), dim
            ),
            **store_columns(self.manifest.store, patches, self._centroids),
            "patch_ends": np.cumsum(patch_counts) + self._files["patches"].record.shape[0],
            "boxes": np.concatenate([np.zeros((0, 4), np.float32)] + [item.boxes for item in rows]),
        }

    def _whiten(self, vectors: Floats, dim: int) -> Floats:
        if len(vectors) == 0:
            return np.zeros((0, dim), dtype=np.float32)
        return vectors if self._whitening is None else self._whitening.apply(vectors)


def _width(rows: Sequence[ImageRows], dim: int) -> int:
    return rows[0].patches.shape[1] if rows else dim


def _new_manifest(
    encoder: Encoder,
    regions: Regions,
    options: BuildOptions,
    chunk: int,
    whitening: Whitening | None = None,
) -> Manifest:
    store = options.store or "float32"
    dim = encoder.dim if whitening is None else whitening.matrix.shape[1]
    arrays = {
        "ids": ArrayRecord("|u1", (0,)),
        "id_ends": ArrayRecord("<i8", (0,)),
        "sizes": ArrayRecord("<i4", (0, 2)),
        "globals": ArrayRecord("<f4", (0, dim)),
        **store_records(store, dim),
        "patch_ends": ArrayRecord("<i8", (0,)),
        "boxes": ArrayRecord("<f4", (0, 4)),
    }
    return Manifest(
        dim=dim,
        store=store,
        regions=regions.spec,
        encoder=dict(encoder.describe()),
        identity=identity_of(encoder, whitening),
        chunk=chunk,
        whitened=whitening is not None,
        arrays=arrays,
        version=__version__,
    )


def _check_plan(folder: Path, old: Manifest, new: Manifest) -> None:
    for key, value in old.plan().items():
        if new.plan()[key] != value:
            raise GalleryError(
                f"{folder}: was begun with {key} = {value!r}, now it is {new.plan()[key]!r} "
                f"(encoder then: {old.encoder.get('spec')!r}, now: {new.encoder.get('spec')!r}); "
                "use the same settings, or another folder"
            )


def _check_empty(folder: Path) -> None:
    foreign = [
        path.name for path in folder.iterdir() if path.suffix not in (".bin", ".tmp", ".lock")
    ]
    if foreign:
        raise GalleryError(
            f"{folder}: is not a gallery but holds {foreign[0]!r}; choose an empty folder"
        )


def _ids_of(folder: Path, manifest: Manifest) -> set[str]:
    blob, ends = (open_array(folder, key, manifest.arrays[key]) for key in ("ids", "id_ends"))
    return set(decode_ids(blob, ends))


def _whitening(folder: Path, manifest: Manifest) -> Whitening | None:
    if not manifest.whitened:
        return None
    from patchrerank.encoders import Whitening

    return Whitening.load(folder / WHITENING)


def _centroids(folder: Path, manifest: Manifest) -> Floats | None:
    record = manifest.arrays.get("pq_centroids")
    if record is None or not record.shape[0]:
        return None
    return np.array(open_array(folder, "pq_centroids", record), dtype=np.float32)


def _lock(folder: Path) -> IO[bytes]:
    """Take the folder's lock; the operating system gives it back when the process dies."""
    file = (folder / "build.lock").open("ab")
    try:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # no such lock on this platform
        pass
    except OSError as error:
        file.close()
        raise GalleryError(f"{folder}: another process is building this gallery") from error
    return file
