"""The folders that a gallery, or its local descriptors, consist of: opened when first used."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import Array
from patchrerank.gallery.id_table import ID_TABLE
from patchrerank.gallery.live_arrays import CUT_BY, WHOLE
from patchrerank.gallery.manifest import MANIFEST, REMOVED, ArrayRecord, ShardTable
from patchrerank.kernels.segments import Segments

OWN_ARRAYS = (ID_TABLE, REMOVED, *WHOLE)
"""Arrays that a gallery of shards has in its own folder."""

COUNTED = {"id_ends": "id_bytes", "patch_ends": "vectors", "ends": "vectors"}
"""Arrays of cumulative counts, and the column of a table of shards that says of what."""


class Planned(Protocol):
    """A manifest: of a gallery, or of a local store."""

    @property
    def arrays(self) -> Mapping[str, ArrayRecord]:
        """Name → record."""
        ...

    def plan(self) -> dict[str, object]:
        """Return what must stay the same when a folder is continued."""
        ...


class Folder(Protocol):
    """A folder of arrays that is open."""

    folder: Path
    manifest: Any

    @property
    def place(self) -> Path:
        """Where it is now."""
        ...

    def array(self, name: str) -> Array:
        """Return one of its arrays."""
        ...

    def first_used(self, name: str) -> Array:
        """Return one of its arrays after what is checked then."""
        ...


def pin_of(made: Planned) -> int:
    """Return the CRC-32 of a manifest's settings and arrays, wherever their files lie."""
    arrays = {
        name: (record.dtype, record.shape, record.crc32)
        for name, record in made.arrays.items()
        if name != ID_TABLE
    }
    return zlib.crc32(json.dumps([made.plan(), arrays], sort_keys=True).encode())


class Shards:
    """S folders of one kind, each opened when it is first asked for.

    Args:
        whole: the folder that they make up, opened; its kind opens each of them.
        table: which, and what they held when they were joined.
        checked: counts and ids of a shard are read whole, with their checksums, before they are
            first used, as those of small galleries are.
    """

    def __init__(self, whole: Folder, table: ShardTable, *, checked: bool) -> None:
        self.table, self._whole, self._checked = table, whole, checked
        self._place = whole.place.resolve()
        columns = {key: getattr(table, key) for key in ("images", "vectors", "id_bytes")}
        self.starts = {
            key: np.concatenate([[0], np.cumsum(column, dtype=np.int64)])
            for key, column in columns.items()
        }
        self._lock = Lock()
        self._opened: list[Any] = [None] * len(table.folders)

    def __len__(self) -> int:
        return len(self.table.folders)

    def __iter__(self) -> Iterator[Any]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Any:
        """Return a shard, opened.

        Raises:
            GalleryError: it is missing, damaged, or was changed since the shards were joined.
        """
        with self._lock:
            if self._opened[number] is None:
                self._opened[number] = self._open(number)
            return self._opened[number]

    def path(self, number: int) -> Path:
        """Return the folder of a shard."""
        return Path(os.path.normpath(self._place / self.table.folders[number]))

    def place_of(self, row: int) -> tuple[int, int]:
        """Return the shard that an image lies in, and its row there."""
        starts = self.starts["images"]
        number = int(np.searchsorted(starts, row, side="right")) - 1
        return number, row - int(starts[number])

    def column(self, name: str, record: ArrayRecord) -> Segments:
        """Return the arrays ``name`` of all shards, one behind the other."""
        key = COUNTED[CUT_BY[name]] if name in CUT_BY else "images"
        shifts = self.starts[COUNTED[name]] if name in COUNTED else None
        part = partial(self._part, name)
        return Segments(self.starts[key], record.dtype, record.shape[1:], part, shifts)

    def _part(self, name: str, number: int) -> Array:
        shard: Folder = self[number]
        return shard.first_used(name) if self._checked else shard.array(name)

    def _open(self, number: int) -> Any:
        path, whole = self.path(number), self._whole.folder
        again = f"restore it, or join what there is now: patchrerank merge {whole} --append"
        if not (path / MANIFEST).is_file():
            raise GalleryError(f"{whole}: its shard {path} is missing; {again}")
        found = type(self._whole)(path)  # type: ignore[call-arg]
        if found.manifest.shards is not None or pin_of(found.manifest) != self.table.crc32[number]:
            raise GalleryError(
                f"{whole}: its shard {path} was changed since the shards were joined "
                f"({self.table.images[number]} images then, {found.manifest.images} now); {again}"
            )
        return found
