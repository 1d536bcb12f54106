"""Reading the local descriptors of a gallery: memory-mapped, read-only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from patchrerank.cells import Cells
from patchrerank.errors import GalleryError, QueryError
from patchrerank.gallery.arrays import Array
from patchrerank.gallery.ends import checked_ends
from patchrerank.gallery.identity import loading_call
from patchrerank.gallery.local_manifest import LocalManifest, read_local_manifest
from patchrerank.gallery.local_rows import LocalRows, open_local_rows
from patchrerank.gallery.manifest import BUILDING, MANIFEST
from patchrerank.gallery.manifest_reading import settled
from patchrerank.gallery.mapped import MappedFolder
from patchrerank.kernels.segments import plain, spans_of
from patchrerank.types import Floats, LocalDescriptors, LocalQueries, Rows

COMPACTED = "compacted.json"
"""The manifest of a local store that is compacted, until the gallery is."""
SAMPLE = 2048
"""Descriptors that a sample holds."""
AGAIN = "run patchrerank index … --local again (or build_local) to finish them"


class LocalStore(MappedFolder):
    """The local descriptors of N images, one image behind the other, strongest first in each.

    Opening checks the manifest and the files' sizes, first use the counts of descriptors; only
    :func:`patchrerank.gallery.verify_local` (``info --verify``) reads the descriptors.

    Args:
        folder: written by :func:`patchrerank.gallery.build_local`: ``local`` in a gallery.
        name: of its manifest.

    Raises:
        GalleryError: no local store, half-written, damaged, or of another format.
    """

    def __init__(self, folder: str | Path, name: str = MANIFEST) -> None:
        self.folder = Path(folder)
        if not (self.folder / MANIFEST).is_file() and (self.folder / BUILDING).is_file():
            raise GalleryError(f"{self.folder}: these local descriptors are half-written; {AGAIN}")
        begin = super().__init__
        self.manifest: LocalManifest = settled(
            lambda: read_local_manifest(self.folder / name),
            lambda made: begin(self.folder, made.arrays, made.shards),
        )

    def __repr__(self) -> str:
        made = self.manifest
        return (
            f"LocalStore({str(self.folder)!r}: {made.images} images, {made.descriptors} "
            f"descriptors, {made.dim}-d {made.store})"
        )

    @cached_property
    def store(self) -> LocalRows:
        """The T descriptors as the scoring kernels take them; a binary store decodes to floats."""
        return open_local_rows(self.manifest.store, self.dim, self._arrays)

    @cached_property
    def ends(self) -> Rows:
        """int64 ``(N,)``: descriptors of image n end before ``ends[n]``.

        Raises:
            GalleryError: their checksum differs, or they do not rise to the number of
                descriptors.
        """
        if self.shards is not None:
            return cast(Rows, plain(self.array("ends")))
        return checked_ends(
            self.folder, "ends", self.sound_array("ends"), self.manifest.descriptors
        )

    @property
    def positions(self) -> Floats:
        """float32 ``(T, 2)``: x and y of each descriptor's centre, in [0, 1]."""
        return self.floats("positions")

    @property
    def scales(self) -> npt.NDArray[np.int16]:
        """int16 ``(T,)``: number of the scale at which each was found."""
        return cast("npt.NDArray[np.int16]", self.array("scales"))

    @property
    def weights(self) -> Floats:
        """float32 ``(T,)``: strength, non-increasing within an image."""
        return self.floats("weights")

    def places(self, rows: Rows) -> Floats:
        """Return x, y, scale and weight of descriptors ``(n,)``, float32 ``(n, 4)``."""
        columns = (self.positions[rows], self.scales[rows], self.weights[rows])
        return np.asarray(np.column_stack(columns), dtype=np.float32)

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """(h, w): cells at each scale; empty for descriptors from elsewhere."""
        return self.manifest.grids

    @cached_property
    def cells(self) -> tuple[Cells, ...]:
        """Where the cells of each scale lie in the picture; empty as ``grids``.

        A store that says nothing of it was made of cells that share the picture out evenly.
        """
        return self.manifest.cells

    @property
    def identity(self) -> str:
        """What the dense encoder of a query must match: weights and structure, not sizes."""
        return self.manifest.identity

    def first_used(self, name: str) -> Array:
        """Return an array after what is checked when it is first used."""
        return self.ends if name == "ends" else self.array(name)

    def descriptors_of(self, row: int) -> LocalDescriptors:
        """Return the descriptors of one image; their norm is 1 up to the store's rounding.

        Raises:
            GalleryError: no such row.
        """
        if not 0 <= row < len(self):
            raise GalleryError(f"{self.folder}: no row {row}; it holds {len(self)} images")
        begins, counts, _ = spans_of(np.array([row]), self.ends, len(self.store))
        begin, end = int(begins[0]), int(begins[0] + counts[0])
        return LocalDescriptors(
            vectors=self.store.decode(np.arange(begin, end)),
            positions=np.array(self.positions[begin:end]),
            scales=np.array(self.scales[begin:end]),
            weights=np.array(self.weights[begin:end]),
        )

    def sample(self) -> Floats:
        """Return ``SAMPLE`` descriptors, or all, evenly spaced: float32 ``(n, D)``."""
        total = len(self.store)
        rows = np.unique(np.linspace(0, max(total - 1, 0), min(total, SAMPLE)).astype(np.int64))
        return self.store.decode(rows)

    def check_queries(self, queries: Sequence[LocalDescriptors]) -> None:
        """Refuse query descriptors that do not live in this store's space.

        Their encoder is known if they come from ``encode_local_queries``; of others only the
        dimension is checked. The image size may differ from the gallery's.

        Raises:
            QueryError: another dimension, or made by another network.
        """
        for number, query in enumerate(queries):
            if len(query) and query.vectors.shape[1] != self.dim:
                raise QueryError(
                    f"local descriptors of query {number} have {query.vectors.shape[1]} "
                    f"dimensions, those of {self.folder} have {self.dim}; encode them with "
                    f"{loading_call(self.manifest.encoder)}"
                )
        theirs = queries.identity if isinstance(queries, LocalQueries) else ""
        if theirs and self.identity and theirs != self.identity:
            raise QueryError(
                f"local descriptors of the queries were made by {theirs[:12]}…, those of "
                f"{self.folder} by {self.identity[:12]}…; use the same weights, mean, std, "
                f"interpolation and precision: {loading_call(self.manifest.encoder)}"
            )
