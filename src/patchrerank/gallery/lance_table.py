"""A LanceDB table, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from patchrerank.errors import GalleryError, MissingExtraError, short_reason
from patchrerank.gallery.arrow_files import ArrowFile, arrow

WINDOW = 16
"""Batches that are asked for at once: a scan of all reads up to two gigabytes ahead."""


class LanceTable(ArrowFile):
    """One version of a table, without its deleted rows, in the order in which it keeps them.

    What is written to the table meanwhile is not seen.

    Args:
        path: its folder, ``DATABASE/TABLE.lance``.
        version: which; None: the newest.

    Raises:
        GalleryError: no table, or no such version.
        MissingExtraError: lancedb is not installed.
    """

    def __init__(self, path: Path, version: int | None = None) -> None:
        lancedb = _lancedb()
        self._arrow, self.path = arrow(), path
        if not (path / "_versions").is_dir():
            what = "is no LanceDB table" if path.exists() else "there is no such folder"
            raise GalleryError(f"{path}: {what}; name that of a table, DATABASE/TABLE.lance")
        try:
            self._table: Any = lancedb.connect(path.parent).open_table(path.stem)
            self._table.checkout(self._table.version if version is None else version)
            self.schema, self._rows = self._table.schema, self._table.count_rows()
        except (ValueError, RuntimeError, OSError, OverflowError) as error:
            raise GalleryError(f"{path}: cannot be read ({short_reason(error)})") from error

    def record_batches(self, name: str, rows: int) -> Iterator[Any]:
        """Yield batches with a column, of about so many rows."""
        step = rows * WINDOW
        for start in range(0, self._rows, step):
            part = self._table.search().select([name]).offset(start).limit(step)
            yield from part.to_batches(batch_size=rows)


def _lancedb() -> Any:
    try:
        import lancedb
    except ImportError as error:
        raise MissingExtraError(
            "LanceDB tables need the package lancedb; install it with: pip install "
            "'patchrerank[lancedb]'"
        ) from error
    return lancedb
