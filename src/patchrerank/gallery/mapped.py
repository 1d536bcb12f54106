"""Folders of arrays, memory-mapped and read-only; several may be read as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import (
    RESTORE,
    Array,
    array_path,
    checksum_of,
    open_array,
    record_bytes,
)
from patchrerank.gallery.manifest import ArrayRecord, ShardTable
from patchrerank.gallery.shards import OWN_ARRAYS, Shards
from patchrerank.kernels.segments import Segments

READ_WHOLE = 1 << 25
"""Bytes of ids and counts up to which all are checked before the first is used."""


class MappedFolder:
    """The arrays of one folder, memory-mapped; pickled as its absolute path and its identity.

    Where it consists of shards, an array is a
    :class:`~patchrerank.kernels.segments.Segments`: its rows and slices are arrays, and a shard is
    opened when one of its rows is first used.

    Attributes:
        folder: as it was given.
        shards: the folders that it consists of; None: it is one.
    """

    manifest: Any
    shards: Shards | None

    def __init__(
        self, folder: Path, records: Mapping[str, ArrayRecord], shards: ShardTable | None = None
    ) -> None:
        self.folder = folder
        self._opened_at = folder.absolute()
        self._records = dict(records)
        self.shards = None
        if shards is not None:
            small = sum(map(record_bytes, records.values())) <= READ_WHOLE
            self.shards = Shards(self, shards, checked=small)
        self._arrays = {name: self._array(name, record) for name, record in records.items()}

    def _array(self, name: str, record: ArrayRecord) -> Array:
        if self.shards is None or name in OWN_ARRAYS:
            return open_array(self.folder, name, record)
        return cast(Array, self.shards.column(name, record))

    def __reduce__(self) -> tuple[Callable[..., MappedFolder], tuple[object, ...]]:
        # another process, in another working directory, maps them again
        made = self.manifest
        return _reopen, (type(self), self._opened_at, made.identity, made.numbering)

    def __len__(self) -> int:
        return int(self.manifest.images)

    @property
    def dim(self) -> int:
        """Dimensions d of every vector."""
        return int(self.manifest.dim)

    @property
    def place(self) -> Path:
        """Where the folder is: as it was given, or absolute once the working directory changed."""
        return self.folder if self.folder.absolute() == self._opened_at else self._opened_at

    def array(self, name: str) -> Array:
        """Return the memory-mapped array ``name`` of the manifest."""
        if name not in self._arrays:
            raise GalleryError(f"{self.folder}: holds no array {name!r}")
        return self._arrays[name]

    def floats(self, name: str) -> npt.NDArray[np.float32]:
        """Return the array ``name``, one of those that manifests are refused for unless float32."""
        return cast("npt.NDArray[np.float32]", self.array(name))

    def first_used(self, name: str) -> Array:
        """Return an array after what is checked when it is first used."""
        return self.array(name)

    def sound_array(self, name: str) -> Array:
        """Return the array ``name`` after reading all of it once and comparing its checksum.

        Those of shards are read shard by shard, when a row of each is first used.

        Raises:
            GalleryError: the bytes are not those that the manifest describes.
        """
        array = self.array(name)
        if not isinstance(array, Segments) and checksum_of(array) != self._records[name].crc32:
            raise GalleryError(
                f"{array_path(self.folder, name, self._records[name].generation)}: checksum "
                f"differs from the manifest's; {RESTORE}"
            )
        return array

    def nbytes(self) -> dict[str, int]:
        """Return the size in bytes of each array, of all shards together."""
        return {name: record_bytes(record) for name, record in self._records.items()}

    def files(self) -> dict[str, Path]:
        """Return the file of each array; of one of shards, each shard has its own."""
        records = self._records.items()
        return {name: array_path(self.folder, name, r.generation) for name, r in records}


def _reopen(
    kind: Callable[[Path], MappedFolder], folder: Path, identity: str, numbering: int
) -> MappedFolder:
    """Open a folder that was pickled.

    Raises:
        GalleryError: it is gone, or holds vectors of another encoder or rows of other numbers
            meanwhile.
    """
    found = kind(folder)
    if found.manifest.identity != identity:
        raise GalleryError(
            f"{folder}: was encoded otherwise ({identity[:12]}…) when it was pickled than it is "
            f"now ({found.manifest.identity[:12]}…); make the object anew from the folder"
        )
    if found.manifest.numbering != numbering:
        raise GalleryError(
            f"{folder}: was compacted since it was pickled, so that rows have other numbers; make "
            "the object anew from the folder"
        )
    return found
