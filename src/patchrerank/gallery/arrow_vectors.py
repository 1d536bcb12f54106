"""Vectors in a table, a row an image: ids, globals, patches, boxes, sizes, local descriptors.

``globals`` is a list of numbers, ``patches`` a list of such lists, ``boxes`` a list of lists of
four, ``sizes`` a list of two whole numbers, ``local`` and ``places`` as ``patches``; ``list`` and
``fixed_size_list`` alike, float16, float32 or float64. A row without any patches may have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrow_columns import (
    FLOATS,
    TEXT,
    UUID_BYTES,
    find_columns,
    is_list,
    is_uuid,
)
from patchrerank.gallery.arrow_files import ArrowFile, arrow
from patchrerank.gallery.export_columns import WHITENING_ARRAYS, Record, read_record
from patchrerank.gallery.local_vectors import LocalVectors
from patchrerank.gallery.row_sources import BLOCK_BYTES, Array, RowSource
from patchrerank.gallery.vectors import Vectors
from patchrerank.types import Rows

RECORD = b"patchrerank"
"""Key of the schema's metadata: what made the vectors."""
WHITENED = b"patchrerank.whitening."
"""Before ``mean`` and ``matrix``: keys of the bytes of float32 numbers."""
IDS_AT_ONCE = 1 << 16
SAMPLE = 64
"""First rows, which tell how large rows are."""
NUMBERS = "fixed_size_list (or list) of float16 or float32"


class ArrowRows(RowSource):
    """A column of vectors, or of lists of vectors, as rows one behind the other.

    Attributes:
        counts: int64 ``(N,)``, vectors of each image.
    """

    def __init__(self, file: ArrowFile, name: str, levels: int, wanted: str) -> None:
        self._source, self._column, self._levels = file, name, levels
        kind = file.schema.field(name).type
        for _ in range(levels):
            if not is_list(kind):
                raise file.refused(name, wanted)
            kind = kind.value_type
        if str(kind) not in FLOATS:
            raise file.refused(name, wanted)
        self.name, self.dtype = f"{name} ({file.path})", np.dtype(kind.to_pandas_dtype())
        self._step = _rows_of_a_block(file, name)
        counts, self._width = [np.zeros(0, dtype=np.int64)], 0
        for array in self._arrays():
            counts.append(_lengths(array) if levels > 1 else np.ones(len(array), dtype=np.int64))
            self._width = self._width or self._width_of(array)
        self.counts: Rows = np.concatenate(counts)
        self.shape = (int(self.counts.sum()), self._width)

    def blocks(self, counts: Rows | None = None) -> Iterator[Array]:
        """Yield all vectors ``(n, width)``; all of them count."""
        first = 0
        for array in self._arrays():
            inner = self._vectors(array)
            lengths = _lengths(inner)
            if (lengths != self._width).any():
                row = first + int(np.argmax(lengths != self._width))
                raise GalleryError(
                    f"{self.name}: row {row} has {lengths[row - first]} numbers, the first has "
                    f"{self._width}"
                )
            values = inner.flatten()
            if values.null_count:
                raise GalleryError(f"{self.name}: a number is missing behind row {first}")
            first += len(inner)
            yield values.to_numpy(zero_copy_only=False).reshape(-1, self._width)

    def _arrays(self) -> Iterator[Any]:
        return self._source.batches(self._column, self._step, nulls=self._levels > 1)

    def _vectors(self, array: Any) -> Any:
        inner = array.flatten() if self._levels > 1 else array
        if inner.null_count:
            raise GalleryError(f"{self.name}: a vector is missing")
        return inner

    def _width_of(self, array: Any) -> int:
        lengths = _lengths(self._vectors(array))
        return int(lengths[0]) if len(lengths) else 0


def _rows_of_a_block(file: ArrowFile, name: str) -> int:
    first = next(file.batches(name, SAMPLE, nulls=True), None)
    a_row = 1 if first is None or not len(first) else first.nbytes // len(first)
    return min(max(1, BLOCK_BYTES // max(1, a_row)), IDS_AT_ONCE)


def _lengths(array: Any) -> Rows:
    lengths = arrow().compute.list_value_length(array).fill_null(0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)


def read_columns(file: ArrowFile, named: Mapping[str, str]) -> Vectors:
    """Open the columns of a table; they are read batch by batch, lists of vectors twice.

    Args:
        file: the table.
        named: what columns are called, where it is not as in ``COLUMNS``.

    Raises:
        GalleryError: a column is missing, or of another type; names it.
    """
    at = find_columns(file, named)
    whole = ArrowRows(file, at["globals"], 1, NUMBERS)
    patches = ArrowRows(file, at["patches"], 2, f"list of {NUMBERS}") if "patches" in at else None
    boxes = None
    if patches is not None and "boxes" in at:
        boxes = ArrowRows(file, at["boxes"], 2, "list of fixed_size_list of 4 float32")
        _check_counts(file, boxes, patches, "boxes", "patches")
    metadata = file.schema.metadata or {}
    made, record = Record(), metadata.get(RECORD)
    if record is not None:
        text, whitening = record.decode("utf-8", "replace"), partial(_whitening, metadata)
        made = read_record(text, str(file.path), whitening)
    return Vectors(
        _ids(file, at["ids"]),
        whole,
        patches,
        None if patches is None else patches.counts,
        boxes,
        made.regions,
        made.origin,
        _sizes(file, at["sizes"]) if "sizes" in at else None,
        _local(file, at, made),
    )


def _whitening(metadata: Mapping[bytes, bytes]) -> dict[str, Array]:
    """Return mean ``(d,)`` and matrix ``(d, m)``."""
    held = {name: metadata.get(WHITENED + name.encode()) for name in WHITENING_ARRAYS}
    found = {name: np.frombuffer(raw, "<f4") for name, raw in held.items() if raw is not None}
    if len(found) == len(held):
        found["matrix"] = found["matrix"].reshape(len(found["mean"]), -1)
    return found


def _local(file: ArrowFile, at: Mapping[str, str], made: Record) -> LocalVectors | None:
    if "local" not in at:
        return None
    if "places" not in at:
        raise GalleryError(f"{file.path}: has local descriptors, but no column 'places' of theirs")
    vectors = ArrowRows(file, at["local"], 2, f"list of {NUMBERS}")
    places = ArrowRows(file, at["places"], 2, "list of fixed_size_list of 2 to 4 float32")
    _check_counts(file, places, vectors, "places", "descriptors")
    return LocalVectors(vectors, places, vectors.counts, made.local)


def _check_counts(file: ArrowFile, some: ArrowRows, of: ArrowRows, *words: str) -> None:
    if not np.array_equal(some.counts, of.counts):
        row = int(np.argmax(some.counts != of.counts))
        raise GalleryError(
            f"{file.path}: row {row} has {some.counts[row]} {words[0]} for {of.counts[row]} "
            f"{words[1]}"
        )


def _sizes(file: ArrowFile, name: str) -> Any:
    kind = file.schema.field(name).type
    if not is_list(kind) or not str(kind.value_type).startswith(("int", "uint")):
        raise file.refused(name, "fixed_size_list of 2 whole numbers")
    parts = [np.zeros((0, 2), dtype=np.int64)]
    for array in file.batches(name, IDS_AT_ONCE):
        if (_lengths(array) != 2).any() or array.flatten().null_count:
            raise GalleryError(f"{file.path}: the column {name!r} has rows of other than 2 numbers")
        parts.append(array.flatten().to_numpy(zero_copy_only=False).reshape(-1, 2))
    return np.concatenate(parts)


def _ids(file: ArrowFile, name: str) -> Any:
    """Return ids: a list of text, whole numbers, or uint8 ``(N, 16)`` for UUIDs."""
    kind = file.schema.field(name).type
    arrays = file.batches(name, IDS_AT_ONCE)
    if str(kind) in TEXT:
        return [item for array in arrays for item in array.to_pylist()]
    if str(kind).startswith(("int", "uint")):
        parts = [array.to_numpy(zero_copy_only=False) for array in arrays]
        return np.concatenate([np.zeros(0, dtype=kind.to_pandas_dtype()), *parts])
    if is_uuid(kind):
        raw = b"".join(
            item for array in arrays for item in getattr(array, "storage", array).to_pylist()
        )
        return np.frombuffer(raw, dtype=np.uint8).reshape(-1, UUID_BYTES)
    raise file.refused(name, "text, whole numbers, or fixed_size_binary[16] for UUIDs")
