"""Vectors in a Parquet or Arrow file, a row an image: ids, globals, patches and boxes.

``globals`` is a list of numbers, ``patches`` a list of such lists, ``boxes`` a list of lists of
four; ``list`` and ``fixed_size_list`` alike, float16 or float32 (float64 is read, too).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.errors import GalleryError, MissingExtraError, short_reason
from patchrerank.gallery.export_columns import read_record
from patchrerank.gallery.row_sources import BLOCK_BYTES, Array, RowSource
from patchrerank.gallery.vectors import Vectors
from patchrerank.types import Rows

RECORD = b"patchrerank"
"""Key of the schema's metadata: what made the vectors."""
IDS_AT_ONCE = 1 << 16
UUID_BYTES = 16


def arrow() -> Any:
    """Return pyarrow.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            "Parquet and Arrow files need the package pyarrow; install it with: pip install "
            "'patchrerank[arrow]'"
        ) from error
    return pyarrow


class ArrowFile:
    """A Parquet or Arrow (IPC, Feather) file, read batch by batch.

    Attributes:
        path: of the file.
        schema: of its columns.
    """

    def __init__(self, path: Path) -> None:
        self._arrow, self.path = arrow(), path
        try:
            if path.suffix.lower() == ".parquet":
                self._file = self._arrow.parquet.ParquetFile(path)
                self.schema = self._file.schema_arrow
            else:
                self._file = self._arrow.ipc.open_file(self._arrow.memory_map(str(path)))
                self.schema = self._file.schema
        except (OSError, self._arrow.ArrowException) as error:
            raise GalleryError(f"{path}: cannot be read ({short_reason(error)})") from error

    def batches(self, name: str, rows: int) -> Iterator[Any]:
        """Yield a column's arrays, of about so many rows, none of them null.

        Raises:
            GalleryError: a null, or damage; names the column.
        """
        first = 0
        try:
            for batch in self._record_batches(name, rows):
                found = batch.column(batch.schema.get_field_index(name))
                if found.null_count:
                    row = first + found.is_null().to_pylist().index(True)
                    raise GalleryError(f"{self.path}: the column {name!r} has none in row {row}")
                first += len(found)
                yield found
        except (OSError, self._arrow.ArrowException) as error:
            raise GalleryError(
                f"{self.path}: the column {name!r} cannot be read ({short_reason(error)})"
            ) from error

    def _record_batches(self, name: str, rows: int) -> Iterator[Any]:
        if self.path.suffix.lower() == ".parquet":
            yield from self._file.iter_batches(batch_size=rows, columns=[name])
            return
        for number in range(self._file.num_record_batches):
            batch = self._file.get_batch(number).select([name])
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)

    def refused(self, name: str, wanted: str) -> GalleryError:
        """Return the error of a column of another type."""
        return GalleryError(
            f"{self.path}: the column {name!r} is {self.schema.field(name).type}; use {wanted}"
        )


class ArrowRows(RowSource):
    """A column of vectors, or of lists of vectors, as rows one behind the other.

    Attributes:
        counts: int64 ``(N,)``, vectors of each image.
    """

    def __init__(self, file: ArrowFile, name: str, levels: int, wanted: str) -> None:
        self._source, self._column, self._levels = file, name, levels
        kind = file.schema.field(name).type
        for _ in range(levels):
            if not _is_list(kind):
                raise file.refused(name, wanted)
            kind = kind.value_type
        if str(kind) not in ("halffloat", "float", "double"):
            raise file.refused(name, wanted)
        self.name, self.dtype = f"{name} ({file.path})", np.dtype(kind.to_pandas_dtype())
        counts, self._width = [np.zeros(0, dtype=np.int64)], 0
        for array in file.batches(name, IDS_AT_ONCE // 64):
            counts.append(_lengths(array) if levels > 1 else np.ones(len(array), dtype=np.int64))
            self._width = self._width or self._width_of(array)
        self.counts: Rows = np.concatenate(counts)
        self.shape = (int(self.counts.sum()), self._width)
        a_row = max(
            1,
            self.dtype.itemsize * self._width * int(self.counts.mean() if len(self.counts) else 1),
        )
        self._step = max(1, BLOCK_BYTES // a_row)

    def blocks(self, counts: Rows | None = None) -> Iterator[Array]:
        """Yield all vectors ``(n, width)``; all of them count."""
        first = 0
        for array in self._source.batches(self._column, self._step):
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

    def _vectors(self, array: Any) -> Any:
        inner = array.flatten() if self._levels > 1 else array
        if inner.null_count:
            raise GalleryError(f"{self.name}: a vector is missing")
        return inner

    def _width_of(self, array: Any) -> int:
        lengths = _lengths(self._vectors(array))
        return int(lengths[0]) if len(lengths) else 0


def _is_list(kind: Any) -> bool:
    return str(kind).startswith(("list<", "large_list<", "fixed_size_list<"))


def _lengths(array: Any) -> Rows:
    lengths = arrow().compute.list_value_length(array)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)


def read_arrow_vectors(path: Path) -> Vectors:
    """Open the columns of a file; they are read batch by batch, patches and boxes twice.

    Raises:
        GalleryError: not such a file, a column is missing, or of another type; names it.
        MissingExtraError: pyarrow is not installed.
    """
    file = ArrowFile(path)
    for name in ("ids", "globals", "patches"):
        if name not in file.schema.names:
            held = ", ".join(file.schema.names)[:200]
            raise GalleryError(f"{path}: holds no column {name!r}; it has {held}")
    numbers = "fixed_size_list (or list) of float16 or float32"
    whole = ArrowRows(file, "globals", 1, numbers)
    patches = ArrowRows(file, "patches", 2, f"list of {numbers}")
    boxes = None
    if "boxes" in file.schema.names:
        boxes = ArrowRows(file, "boxes", 2, "list of fixed_size_list of 4 float32")
        if not np.array_equal(boxes.counts, patches.counts):
            row = int(np.argmax(boxes.counts != patches.counts))
            raise GalleryError(
                f"{path}: row {row} has {boxes.counts[row]} boxes for {patches.counts[row]} patches"
            )
    record = (file.schema.metadata or {}).get(RECORD)
    origin, regions = (None, None)
    if record is not None:
        origin, regions = read_record(record.decode("utf-8", "replace"), str(path))
    return Vectors(_ids(file), whole, patches, patches.counts, boxes, regions, origin)


def _ids(file: ArrowFile) -> Any:
    """Return ids: a list of text, whole numbers, or uint8 ``(N, 16)`` for UUIDs."""
    kind = file.schema.field("ids").type
    arrays = file.batches("ids", IDS_AT_ONCE)
    text = str(kind)
    if text in ("string", "large_string", "string_view"):
        return [item for array in arrays for item in array.to_pylist()]
    if text.startswith(("int", "uint")):
        parts = [array.to_numpy(zero_copy_only=False) for array in arrays]
        return np.concatenate([np.zeros(0, dtype=kind.to_pandas_dtype()), *parts])
    storage = getattr(kind, "storage_type", kind)
    if str(storage) == f"fixed_size_binary[{UUID_BYTES}]":
        raw = b"".join(
            item for array in arrays for item in getattr(array, "storage", array).to_pylist()
        )
        return np.frombuffer(raw, dtype=np.uint8).reshape(-1, UUID_BYTES)
    raise file.refused("ids", "text, whole numbers, or fixed_size_binary[16] for UUIDs")
