"""Writing a local store chunk by chunk, so that a killed run can be resumed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import Array, ArrayFiles
from patchrerank.gallery.folder import check_empty, check_plan, lock_folder, writing
from patchrerank.gallery.id_types import bytes_of
from patchrerank.gallery.local_manifest import (
    CELLS,
    LocalManifest,
    empty_arrays,
    read_local_manifest,
)
from patchrerank.gallery.local_rows import local_columns
from patchrerank.gallery.manifest import BUILDING, MANIFEST
from patchrerank.types import LocalDescriptors


def open_local_writer(folder: Path, plan: LocalManifest) -> LocalWriter:
    """Start a local store in an empty or absent folder, or take up the one that is there.

    Args:
        folder: of the local store itself.
        plan: a manifest without images: what is to be written.

    Raises:
        GalleryError: begun with other settings, foreign files, damaged, or another process at
            work.
    """
    lock = lock_folder(folder)
    for name in (BUILDING, MANIFEST):
        if (folder / name).exists():
            manifest = read_local_manifest(folder / name)
            _check_plan(folder, manifest, plan)
            if manifest.shards is not None:
                raise GalleryError(
                    f"{folder}: names the local descriptors of shards; delete the folder, then "
                    "others can be written there"
                )
            return LocalWriter(folder, manifest, lock)
    check_empty(folder)
    fresh = replace(plan, arrays=empty_arrays(plan.store, plan.dim))
    return LocalWriter(folder, fresh, lock)


class LocalWriter:
    """Appends images to a local store; use as a context manager.

    Each :meth:`commit` is all or nothing: rows count once ``building.json`` names them.
    """

    def __init__(self, folder: Path, manifest: LocalManifest, lock: IO[bytes]) -> None:
        self.folder = folder
        self.manifest = manifest
        with writing(folder, manifest.images):
            self._files = ArrayFiles(folder, manifest.arrays)
        self._lock = lock

    def __enter__(self) -> LocalWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()
        self._lock.close()

    def commit(
        self,
        pictures: Sequence[LocalDescriptors],
        ids: Sequence[Any] | None = None,
        skipped: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Add the descriptors of the next images.

        Args:
            pictures: one entry an image; an entry may be empty.
            ids: of these images, where they are known.
            skipped: those of them that could not be read, with reasons.

        Raises:
            GalleryError: descriptors of another dimension, or not finite.
        """
        with writing(self.folder, self.manifest.images):
            self._commit(pictures, ids, skipped)

    def _commit(
        self,
        pictures: Sequence[LocalDescriptors],
        ids: Sequence[Any] | None,
        skipped: Sequence[tuple[str, str]],
    ) -> None:
        self._files.append(self._columns(pictures))
        self._files.flush()
        crc = self.manifest.ids_crc32
        if ids is not None:
            crc = zlib.crc32(bytes_of(ids), crc or 0)
        listed = (*self.manifest.skipped, *skipped)
        counted = self.manifest.with_arrays(self._files.records)
        self.manifest = replace(counted, ids_crc32=crc, skipped=listed)
        self.manifest.write(self.folder / BUILDING)

    def finish(self) -> None:
        """Declare the local store complete."""
        with writing(self.folder, self.manifest.images):
            self._files.flush(durable=True)
            self.manifest.with_arrays(self._files.records).write(self.folder / MANIFEST)
            (self.folder / BUILDING).unlink(missing_ok=True)

    def _columns(self, pictures: Sequence[LocalDescriptors]) -> dict[str, Array]:
        made = self.manifest
        for number, item in enumerate(pictures):
            self._check(made.images + number, item)
        counts = np.array([len(item) for item in pictures], dtype=np.int64)
        vectors = [np.zeros((0, made.dim), np.float32), *(item.vectors for item in pictures)]
        positions = [np.zeros((0, 2), np.float32), *(item.positions for item in pictures)]
        scales = [np.zeros(0, np.int16), *(item.scales for item in pictures)]
        weights = [np.zeros(0, np.float32), *(item.weights for item in pictures)]
        return {
            **local_columns(made.store, np.concatenate(vectors)),
            "ends": np.cumsum(counts) + self._files.rows("descriptors"),
            "positions": np.concatenate(positions),
            "scales": np.concatenate(scales),
            "weights": np.concatenate(weights),
        }

    def _check(self, row: int, item: LocalDescriptors) -> None:
        if len(item) and item.vectors.shape[1] != self.manifest.dim:
            raise GalleryError(
                f"{self.folder}: descriptors of image {row} have {item.vectors.shape[1]} "
                f"dimensions, those before have {self.manifest.dim}"
            )
        parts = (item.vectors, item.positions, item.weights)
        if not all(np.isfinite(part).all() for part in parts):
            raise GalleryError(
                f"{self.folder}: descriptors of image {row} hold NaN or infinite values"
            )


def _check_plan(folder: Path, old: LocalManifest, new: LocalManifest) -> None:
    if old.identity == new.identity and (CELLS in new.encoder) and CELLS not in old.encoder:
        raise GalleryError(
            f"{folder}: was begun when positions of this network's descriptors were recorded up "
            "to half a cell off; delete this folder and build it again"
        )
    remedy = f"use the same settings, or delete the folder {folder} and build it again"
    check_plan(folder, old, new, remedy)
