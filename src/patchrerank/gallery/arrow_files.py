"""Parquet and Arrow files, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from patchrerank.errors import GalleryError, MissingExtraError, short_reason


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

    path: Path
    schema: Any

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

    def batches(self, name: str, rows: int, *, nulls: bool = False) -> Iterator[Any]:
        """Yield a column's arrays, of about so many rows.

        Args:
            name: of the column.
            rows: of an array, at most.
            nulls: whether a row may have none.

        Raises:
            GalleryError: a null, or damage; names the column.
        """
        first = 0
        try:
            for batch in self.record_batches(name, rows):
                found = batch.column(batch.schema.get_field_index(name))
                if found.null_count and not nulls:
                    row = first + found.is_null().to_pylist().index(True)
                    raise GalleryError(f"{self.path}: the column {name!r} has none in row {row}")
                first += len(found)
                yield found
        except (OSError, RuntimeError, self._arrow.ArrowException) as error:
            raise GalleryError(
                f"{self.path}: the column {name!r} cannot be read ({short_reason(error)})"
            ) from error

    def record_batches(self, name: str, rows: int) -> Iterator[Any]:
        """Yield batches with a column, of about so many rows."""
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
