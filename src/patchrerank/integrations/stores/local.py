"""Local descriptors in a store: an image's as one piece of bytes, many of them as a local store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.gallery import LocalStore
from patchrerank.gallery.arrays import Array
from patchrerank.gallery.local_manifest import LocalManifest, empty_arrays
from patchrerank.gallery.manifest import ArrayRecord
from patchrerank.types import Floats

ENDS = "ends"
TOLD = ("dim", "store", "encoder", "identity", "fingerprint", "grids", "chunk")
"""Entries of a local store's manifest that say what its descriptors are."""


def packed(local: LocalStore, row: int) -> bytes:
    """Return one image's descriptors, as they are stored: their columns, one behind the other."""
    first, last = (int(local.ends[row - 1]) if row else 0), int(local.ends[row])
    return b"".join(
        np.ascontiguousarray(local.array(name)[first:last]).tobytes()
        for name, _ in _columns(local.manifest)
    )


def _columns(made: LocalManifest) -> Iterator[tuple[str, ArrayRecord]]:
    columns = empty_arrays(made.store, made.dim)
    yield from ((name, columns[name]) for name in sorted(columns) if name != ENDS)


def local_text(local: LocalStore) -> str:
    """Return what is written beside descriptors, as JSON."""
    return json.dumps({name: getattr(local.manifest, name) for name in TOLD}, sort_keys=True)


def read_local_text(text: str, name: str) -> LocalManifest:
    """Return the manifest of descriptors, without any.

    Args:
        text: from :func:`local_text`.
        name: of the store, for the error.

    Raises:
        GalleryError: it is none.
    """
    try:
        known = json.loads(text)
        grids = tuple((int(height), int(width)) for height, width in known.pop("grids"))
        made = LocalManifest(grids=grids, **known)
        _ = made.cells, [made.dim + made.chunk], dict(_columns(made)), dict(made.encoder)
    except (ValueError, KeyError, TypeError) as error:
        raise GalleryError(
            f"{name}: what it says of its local descriptors cannot be read ({error}); push the "
            "gallery into another name"
        ) from error
    return made


class FetchedLocal(LocalStore):
    """Local descriptors of some images, in memory.

    Args:
        name: of the store that they are from.
        made: their manifest.
        pieces: from :func:`packed`; None, or nothing, for an image that has none.
        sample: gives what :meth:`sample` returns.

    Raises:
        GalleryError: a piece is damaged.
    """

    def __init__(
        self,
        name: str,
        made: LocalManifest,
        pieces: Sequence[bytes | None],
        sample: Callable[[], Floats],
    ) -> None:
        counts, arrays = _joined(name, made, [piece or b"" for piece in pieces])
        arrays[ENDS] = np.cumsum(counts, dtype=np.int64)
        records = {key: ArrayRecord(one.dtype.str, one.shape) for key, one in arrays.items()}
        self.folder = self._opened_at = Path(name)
        self.manifest = replace(made.with_arrays(records))
        self.shards, self._records, self._arrays = None, records, arrays
        self._sample = sample

    def sound_array(self, name: str) -> Array:
        """Return the array ``name``: what was fetched is sound."""
        return self.array(name)

    def sample(self) -> Floats:
        """Return the sample of the gallery that was pushed; see the base class."""
        return self._sample()


def _joined(
    name: str, made: LocalManifest, pieces: Sequence[bytes]
) -> tuple[list[int], dict[str, Array]]:
    """Return counts and columns of images, one behind the other."""
    columns = {key: (np.dtype(record.dtype), record.shape[1:]) for key, record in _columns(made)}
    widths = {key: dtype.itemsize * int(np.prod(tail)) for key, (dtype, tail) in columns.items()}
    counts = [len(piece) // sum(widths.values()) for piece in pieces]
    if any(len(piece) % sum(widths.values()) for piece in pieces):
        raise GalleryError(f"{name}: local descriptors are damaged; push the gallery again")
    arrays: dict[str, Array] = {}
    before = 0
    for key, (dtype, tail) in columns.items():
        parts = [
            piece[before * count : (before + widths[key]) * count]
            for piece, count in zip(pieces, counts, strict=True)
        ]
        arrays[key] = np.frombuffer(b"".join(parts), dtype=dtype).reshape(-1, *tail)
        before += widths[key]
    return counts, arrays
