"""Folders of arrays, memory-mapped and read-only."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import RESTORE, Array, array_path, open_array, record_bytes
from patchrerank.gallery.manifest import ArrayRecord


class MappedFolder:
    """The arrays of one folder, memory-mapped; pickled as its absolute path and its identity."""

    manifest: Any

    def __init__(self, folder: Path, records: Mapping[str, ArrayRecord]) -> None:
        self.folder = folder
        self._opened_at = folder.absolute()
        self._records = dict(records)
        self._arrays = {name: open_array(folder, name, record) for name, record in records.items()}

    def __reduce__(self) -> tuple[Callable[..., MappedFolder], tuple[object, ...]]:
        # another process, in another working directory, maps them again
        made = self.manifest
        return _reopen, (type(self), self._opened_at, made.identity, made.numbering)

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

    def sound_array(self, name: str) -> Array:
        """Return the array ``name`` after reading all of it once and comparing its checksum.

        Raises:
            GalleryError: the bytes are not those that the manifest describes.
        """
        array = self.array(name)
        if zlib.crc32(array.data if array.size else b"") != self._records[name].crc32:
            raise GalleryError(
                f"{array_path(self.folder, name, self._records[name].generation)}: checksum "
                f"differs from the manifest's; {RESTORE}"
            )
        return array

    def nbytes(self) -> dict[str, int]:
        """Return the size in bytes of each array file."""
        return {name: record_bytes(record) for name, record in self._records.items()}

    def files(self) -> dict[str, Path]:
        """Return the file of each array."""
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
