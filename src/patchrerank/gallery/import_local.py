"""Writing local descriptors that were made elsewhere as a gallery's local store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import Array, ArrayFiles
from patchrerank.gallery.import_checks import VectorChecks
from patchrerank.gallery.import_ids import PackedIds
from patchrerank.gallery.import_writing import append_all, syncing
from patchrerank.gallery.local_manifest import CODES, LocalManifest, empty_arrays
from patchrerank.gallery.local_rows import check_local_store, local_columns
from patchrerank.gallery.local_vectors import LocalOrigin, LocalSource
from patchrerank.gallery.manifest import MANIFEST
from patchrerank.gallery.stores import FLOATS
from patchrerank.types import Floats, Rows

CHUNK = 16
BEYOND = np.iinfo(np.int64).max
MOST_SCALES = 1 << 15


@dataclass(frozen=True)
class ImportedLocal:
    """The local descriptors of an import.

    Attributes:
        source: gives them block by block.
        origin: what made them.
        store: how they are stored.
        ids: of the N images.
        normalise: divide vectors by their norms.
    """

    source: LocalSource
    origin: LocalOrigin
    store: str
    ids: PackedIds
    normalise: bool

    def __post_init__(self) -> None:
        check_local_store(self.store)

    def write(self, folder: Path, ids_crc32: int) -> None:
        """Write the store, and its manifest when all of it is on the disk.

        Raises:
            GalleryError: vectors that are not finite or not of unit norm, places outside of the
                picture, or weights that rise; names the array, the row and its image.
        """
        folder.mkdir()
        origin, dim = self.origin, self.source.dim
        made = LocalManifest(
            dim=dim,
            store=self.store,
            encoder=dict(origin.encoder),
            identity=origin.identity,
            fingerprint=origin.fingerprint,
            grids=origin.grids,
            chunk=CHUNK,
            ids_crc32=ids_crc32,
        )
        files = ArrayFiles(folder, empty_arrays(self.store, dim))
        try:
            with syncing(files):
                append_all(files, _Columns(self).blocks())
        finally:
            files.close()
        made.with_arrays(files.records).write(folder / MANIFEST)


class _Columns:
    """Checks blocks, and makes what is appended to the arrays of a store."""

    def __init__(self, local: ImportedLocal) -> None:
        self._local = local
        self._ends: Rows = np.full(len(local.ids), BEYOND, dtype=np.int64)  # of images read so far
        codes = CODES in local.origin.encoder
        self._vectors = VectorChecks(
            local.source.name, local.ids, self._ends, local.normalise and not codes, unit=not codes
        )
        self._images = self._total = self._first = self._placed = 0
        self._last = np.float32(np.inf)
        self._scales = len(local.origin.grids) or MOST_SCALES

    def blocks(self) -> Iterator[dict[str, Array]]:
        for what, block in self._local.source.parts():
            yield {"counts": self._counts, "vectors": self._checked, "places": self._places}[what](
                block
            )

    def _counts(self, counts: Array) -> dict[str, Array]:
        ends = self._total + np.cumsum(counts, dtype=np.int64)
        self._ends[self._images : self._images + len(ends)] = ends
        self._images += len(ends)
        self._total = int(ends[-1]) if len(ends) else self._total
        return {"ends": ends}

    def _checked(self, block: Any) -> dict[str, Array]:
        vectors = self._vectors.checked(block, self._first)
        self._first += len(block)
        store = self._local.store
        plain = vectors if store in FLOATS else np.asarray(vectors, dtype=np.float32)
        return local_columns(store, plain)

    def _places(self, block: Any) -> dict[str, Array]:
        rows = np.arange(self._placed, self._placed + len(block))
        images = np.searchsorted(self._ends, rows, side="right")
        places = np.asarray(block, dtype=np.float32)
        positions, scales = np.ascontiguousarray(places[:, :2]), np.zeros(len(places), np.float32)
        scales = places[:, 2] if places.shape[1] > 2 else scales
        weights = places[:, 3] if places.shape[1] > 3 else np.ones_like(scales)
        if self._local.source.sizes is not None:
            positions /= self._local.source.sizes[images]
        self._check_positions(positions)
        known = (scales >= 0) & (scales < self._scales) & (scales == np.floor(scales))
        self._refuse(~known, f"has no scale from 0 to {self._scales - 1}, a whole number")
        self._check_weights(weights, images)
        self._placed += len(block)
        return {"positions": positions, "scales": scales.astype(np.int16), "weights": weights}

    def _check_positions(self, positions: Floats) -> None:
        inside = ((positions >= 0) & (positions <= 1)).all(axis=1)
        pixels = (
            ""
            if self._local.source.sizes is not None
            else ("; positions in pixels need the sizes of the pictures (local_pixels=True)")
        )
        self._refuse(~inside, f"lies outside of the picture, which is [0, 1]{pixels}")

    def _check_weights(self, weights: Floats, images: Rows) -> None:
        self._refuse(~np.isfinite(weights), "has no finite weight")
        rising = np.diff(weights, prepend=self._last) > 0
        begins = np.where(images > 0, self._ends[images - 1], 0)
        rising &= begins != np.arange(self._placed, self._placed + len(weights))
        self._refuse(rising, "is stronger than the one before it; sort them by weight, falling")
        self._last = weights[-1] if len(weights) else self._last

    def _refuse(self, bad: Any, why: str) -> None:
        if bad.any():
            row = self._placed + int(np.argmax(bad))
            image = int(np.searchsorted(self._ends, row, side="right"))
            raise GalleryError(f"local places: row {row}, of {self._local.ids.named(image)}, {why}")
