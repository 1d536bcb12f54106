"""The manifest of a local store: what made the descriptors, and of which images they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from patchrerank.cells import Cells
from patchrerank.gallery.local_rows import LOCAL_STORES, local_records
from patchrerank.gallery.manifest import FORMAT, ArrayRecord, Manifest, ShardTable, write_record
from patchrerank.gallery.manifest_checks import (
    check_arrays,
    check_shards,
    check_sizes,
    damaged,
)
from patchrerank.gallery.manifest_reading import read_record
from patchrerank.version import __version__

CELLS = "cells"
"""Entry of an encoder's record: where cells lie that do not share the picture out evenly."""
CODES = "codes"
"""Entry of an encoder's record where the vectors are a reranker's codes, which have any norm."""


MOST_CELLS = 1 << 22
"""Of one picture at one scale; more are no grid."""


@dataclass(frozen=True)
class LocalManifest:
    """Everything about a local store except its arrays' contents.

    Attributes:
        dim: D.
        store: ``float32``, ``float16``, ``int8`` or ``binary``.
        encoder: the dense encoder's own record (spec, weights' digest, sizes, selection).
        identity: what a query's dense encoder must match; empty if nobody knows.
        fingerprint: what must stay the same when the store is continued.
        grids: (h, w) cells of each scale; empty if nobody knows.
        chunk: images encoded and committed together.
        images: number of images.
        descriptors: number of descriptors of all images.
        ids_crc32: CRC-32 of the ids of these images, one behind the other; None if unknown.
        numbering: of the gallery's rows, see :class:`patchrerank.gallery.manifest.Manifest`.
        skipped: ``[id, reason]`` of each image that has no descriptors as it could not be read.
        arrays: name → record.
        shards: the folders that it consists of, where the gallery is one of shards.
        format: layout version.
        version: patchrerank version that wrote it.
    """

    dim: int
    store: str
    encoder: dict[str, object]
    identity: str
    fingerprint: str
    grids: tuple[tuple[int, int], ...]
    chunk: int
    images: int = 0
    descriptors: int = 0
    ids_crc32: int | None = None
    numbering: int = 0
    skipped: tuple[tuple[str, str], ...] = ()
    arrays: dict[str, ArrayRecord] = field(default_factory=dict)
    shards: ShardTable | None = None
    format: int = FORMAT
    version: str = __version__

    @property
    def cells(self) -> tuple[Cells, ...]:
        """Where the cells of each scale lie in the picture, as the encoder recorded it.

        Raises:
            ValueError: what is recorded is no such thing.
        """
        recorded = self.encoder.get(CELLS)
        if recorded is None:
            return tuple(Cells.equal(*grid) for grid in self.grids)
        if not isinstance(recorded, list) or len(recorded) != len(self.grids):
            raise ValueError(f"{len(self.grids)} grids need as many entries")
        pairs = zip(self.grids, recorded, strict=True)
        return tuple(Cells.of_record(grid, entry) for grid, entry in pairs)

    def plan(self) -> dict[str, object]:
        """Return what must stay the same when a store is resumed or appended to."""
        return {name: getattr(self, name) for name in ("fingerprint", "store", "dim")}

    def write(self, path: Path) -> None:
        """Replace the file at ``path`` atomically."""
        write_record(self, path)

    def with_arrays(self, arrays: Mapping[str, ArrayRecord]) -> LocalManifest:
        """Return a copy whose counts follow from the arrays."""
        return replace(
            self,
            arrays=dict(arrays),
            images=arrays["ends"].shape[0],
            descriptors=arrays["descriptors"].shape[0],
        )


def is_of(made: LocalManifest, gallery: Manifest, ids_crc: Callable[[int], int]) -> bool:
    """Return whether descriptors are of a gallery's first rows.

    Args:
        made: of the descriptors.
        gallery: its manifest.
        ids_crc: gives the CRC-32 of the ids of its first rows.
    """
    if made.numbering != gallery.numbering or made.images > gallery.images:
        return False
    return made.ids_crc32 in (None, ids_crc(made.images))


def empty_arrays(store: str, dim: int) -> dict[str, ArrayRecord]:
    """Return the arrays of a local store without images."""
    return {
        **local_records(store, dim),
        "ends": ArrayRecord("<i8", (0,)),
        "positions": ArrayRecord("<f4", (0, 2)),
        "scales": ArrayRecord("<i2", (0,)),
        "weights": ArrayRecord("<f4", (0,)),
    }


def read_local_manifest(path: Path) -> LocalManifest:
    """Read one manifest file of a local store.

    Raises:
        GalleryError: missing, not JSON, of another format; missing or unknown keys, values of
            another type or range, or that contradict each other. Names file and key.
    """
    made, where = read_record(path, LocalManifest), str(path)
    counts = {"images": made.images, "descriptors": made.descriptors, "numbering": made.numbering}
    check_sizes(where, made.dim, made.chunk, **counts)
    if made.store not in LOCAL_STORES:
        raise damaged(where, "store", f"{made.store!r} is none of {', '.join(LOCAL_STORES)}")
    for number, grid in enumerate(made.grids):
        if min(grid) < 1 or grid[0] * grid[1] > MOST_CELLS:
            raise damaged(where, f"grids[{number}]", f"{list(grid)} is no grid of cells")
    try:
        _ = made.cells
    except (TypeError, ValueError) as error:
        raise damaged(where, f"encoder.{CELLS}", str(error)) from error
    if made.ids_crc32 is not None and not 0 <= made.ids_crc32 < 1 << 32:
        raise damaged(where, "ids_crc32", f"{made.ids_crc32} is no CRC-32")
    template = empty_arrays(made.store, made.dim)
    rows = {**dict.fromkeys(template, made.descriptors), "ends": made.images}
    check_arrays(made.arrays, template, rows, where)
    check_shards(made.shards, made.images, made.descriptors, 0, where)
    return made
