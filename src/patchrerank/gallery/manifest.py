"""The manifest: what a gallery directory holds and how it was made.

``manifest.json`` describes a complete gallery; ``building.json``, of the same layout, one whose
build or append is under way. Array files only ever grow, so an append that was killed leaves
the older manifest true. Both files are replaced atomically.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT = 1
MANIFEST = "manifest.json"
BUILDING = "building.json"
REMOVED = "removed"
"""Array of flags, uint8: 1 for each row that was removed; it may end before the last row."""
NO_REGIONS, GIVEN_REGIONS = "none", "given"
"""Regions of imported patches: without boxes (and no array of them), or with boxes of their own."""
NO_SHARDS = "shards", None
"""Is not written: what one folder holds is told as it always was."""
SYNCED = "building.synced.json"
"""Like ``building.json``, as of the last time that everything was known to be on the disk."""


@dataclass(frozen=True)
class ArrayRecord:
    """One array file: numpy dtype string, shape, the CRC-32 of its bytes, and which file it is.

    Files that only grow are of generation 0. What is written anew goes to a file of the next
    one, so that whoever has the older open keeps it.
    """

    dtype: str
    shape: tuple[int, ...]
    crc32: int = 0
    generation: int = 0


@dataclass(frozen=True)
class WhiteningRecord:
    """How a gallery's whitening was learned.

    Attributes:
        dim: dimensions that were kept.
        of_dim: dimensions before.
        chosen: whether ``dim`` was chosen by the spectrum; False: it was asked for.
        shrinkage: by how much variances were pulled towards their mean, in [0, 1].
        images: that it was learned on.
        patches: likewise.
        seed: of the choice of images, where not all were taken.
        variance: share of the patches' variance that the kept dimensions hold.
        spectrum: share of the variance, as text → the fewest dimensions that hold it.
    """

    dim: int
    of_dim: int
    chosen: bool
    shrinkage: float
    images: int
    patches: int
    seed: int
    variance: float
    spectrum: dict[str, int]


@dataclass(frozen=True)
class PictureRecord:
    """Pictures that lie in other files: which ones, and how far they were read.

    Attributes:
        kind: of the files: ``tar`` or ``parquet``.
        ids: what ids were made of: ``key``, ``shard/key`` or a field of each sample's JSON (tar);
            a column or ``file/row`` (Parquet).
        column: of the pictures' bytes; of a tar the field, or empty: every picture.
        files: of each file its path relative to the gallery's root, its size in bytes when it was
            read, and where reading goes on: an offset in bytes (tar), or a row.
    """

    kind: str
    ids: str
    column: str
    files: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True)
class ShardTable:
    """The S folders that a gallery, or its local descriptors, consist of, in row order.

    Attributes:
        folders: relative to the folder that the manifest lies in.
        images: how many each holds.
        vectors: how many patches, or descriptors.
        id_bytes: how many bytes of ids; 0 for local descriptors.
        ids_crc32: of those bytes.
        crc32: of what each one's manifest says of its settings and arrays: one that has changed
            since is refused.
    """

    folders: tuple[str, ...]
    images: tuple[int, ...]
    vectors: tuple[int, ...]
    id_bytes: tuple[int, ...]
    ids_crc32: tuple[int, ...]
    crc32: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """Everything about a gallery except its arrays' contents.

    Attributes:
        images: number of rows: images, and those that were removed.
        patches: number of patch vectors of all rows.
        dim: dimensions of a vector as stored (after whitening).
        store: how patch vectors are stored: ``float32``, ``float16``, ``int8`` or ``pq``.
        regions: spec of the region strategy, and how regions were encoded unless crop by crop;
            of imported patches also ``none`` (they have no boxes) or ``given``.
        encoder: the encoder's own record (spec, preprocessing, weights' digest, fingerprint).
        identity: what a query's encoder must match: encoder fingerprint and whitening.
        chunk: images encoded and committed together.
        trained_on: what a product quantiser was trained on; empty for other stores.
        whitened: whether ``whitening.npz`` is applied after the encoder.
        whitening: how that was learned; None where nobody recorded it.
        root: folder that ids, or the files that pictures lie in, are relative to; or None.
        skipped: ``[id, reason]`` of each image that could not be read.
        numbering: how often rows were numbered anew, by ``compact``; what is kept beside a gallery
            in the order of its rows is of one numbering.
        id_type: what ids are: ``text``, ``int`` or ``uuid``.
        pictures: the files that pictures lie in; None: each is a file of its own, or none.
        arrays: name → record; of a gallery of shards, those that one folder of all would have.
        shards: the folders that it consists of; None: all is in its own.
        format: layout version of the directory.
        version: patchrerank version that wrote it.
    """

    dim: int
    store: str
    regions: str
    encoder: dict[str, object]
    identity: str
    chunk: int
    images: int = 0
    patches: int = 0
    trained_on: str = ""
    whitened: bool = False
    whitening: WhiteningRecord | None = None
    root: str | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    id_type: str = "text"
    pictures: PictureRecord | None = None
    numbering: int = 0
    arrays: dict[str, ArrayRecord] = field(default_factory=dict)
    shards: ShardTable | None = None
    format: int = FORMAT
    version: str = ""

    def plan(self) -> dict[str, object]:
        """Return what must stay the same when a build is resumed or appended to."""
        return {name: getattr(self, name) for name in ("identity", "regions", "store", "dim")}

    def write(self, path: Path, *, durable: bool = True) -> None:
        """Replace the file at ``path`` atomically; ``durable`` waits until it is on the disk."""
        write_record(self, path, durable=durable)

    def with_arrays(self, arrays: dict[str, ArrayRecord]) -> Manifest:
        """Return a copy whose counts follow from the arrays."""
        return replace(
            self,
            arrays=arrays,
            images=arrays["patch_ends"].shape[0],
            patches=arrays["patches"].shape[0],
        )


def write_record(record: DataclassInstance, path: Path, *, durable: bool = True) -> None:
    """Write a dataclass as JSON, replacing the file at ``path`` atomically."""
    scratch = path.with_suffix(".tmp")
    content = {key: value for key, value in asdict(record).items() if (key, value) != NO_SHARDS}
    with scratch.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    scratch.replace(path)
