"""What a manifest says, held against what the writer makes: sizes, arrays, shards."""

from __future__ import annotations

from collections.abc import Mapping

from patchrerank.errors import GalleryError
from patchrerank.gallery.manifest import ArrayRecord, ShardTable

MOST_DIMENSIONS = 1 << 20
REMEDY = "damaged manifest: restore it or index again"


def check_shards(
    shards: ShardTable | None, images: int, vectors: int, id_bytes: int, where: str
) -> None:
    """Refuse a table of shards that do not add up to what a manifest holds; None is nothing.

    Args:
        shards: the table.
        images: of all shards.
        vectors: likewise.
        id_bytes: likewise.
        where: the manifest's file.

    Raises:
        GalleryError: names file and key.
    """
    if shards is None:
        return
    totals = {"images": images, "vectors": vectors, "id_bytes": id_bytes}
    for key in ("images", "vectors", "id_bytes", "ids_crc32", "crc32"):
        column = getattr(shards, key)
        if len(column) != len(shards.folders) or min(column, default=-1) < 0:
            raise damaged(where, f"shards.{key}", f"{len(shards.folders)} counts are needed")
        if sum(column) != totals.get(key, sum(column)):
            raise damaged(where, f"shards.{key}", f"do not add up to {totals[key]}")
    if any(not folder or "\0" in folder for folder in shards.folders):
        raise damaged(where, "shards.folders", "one is no path")


def check_sizes(where: str, dim: int, chunk: int, **counts: int) -> None:
    """Refuse sizes and counts that no folder of arrays has.

    Args:
        where: the manifest's file.
        dim: dimensions of a vector.
        chunk: images that are committed together.
        counts: numbers of rows, by key.

    Raises:
        GalleryError: names file and key.
    """
    if not 1 <= dim <= MOST_DIMENSIONS:
        raise damaged(where, "dim", f"must lie in 1 … {MOST_DIMENSIONS}, got {dim}")
    if chunk < 1:
        raise damaged(where, "chunk", f"must be at least 1, got {chunk}")
    for key, count in counts.items():
        if count < 0:
            raise damaged(where, key, f"must be at least 0, got {count}")


def check_arrays(
    records: Mapping[str, ArrayRecord],
    template: Mapping[str, ArrayRecord],
    rows: Mapping[str, int],
    where: str,
) -> None:
    """Hold the record of each array against what the writer makes.

    Args:
        records: of the manifest.
        template: the arrays that there must be, with dtype and shape; the first side is free.
        rows: the first side, where it is known.
        where: the manifest's file.

    Raises:
        GalleryError: names file and key.
    """
    for name in template:
        if name not in records:
            raise damaged(where, f"arrays.{name}", "missing")
    for name, record in records.items():
        if name not in template:
            raise damaged(where, f"arrays.{name}", f"none of {', '.join(template)}")
        _check_array(f"arrays.{name}", record, template[name], rows.get(name), where)


def _check_array(
    key: str, record: ArrayRecord, wanted: ArrayRecord, rows: int | None, where: str
) -> None:
    if record.dtype != wanted.dtype:
        raise damaged(where, f"{key}.dtype", f"expected {wanted.dtype!r}, got {record.dtype!r}")
    sides = len(record.shape) == len(wanted.shape) and record.shape[1:] == wanted.shape[1:]
    if not sides or record.shape[0] < 0 or (rows is not None and record.shape[0] != rows):
        first = "n" if rows is None else rows
        expected = [first, *wanted.shape[1:]]
        raise damaged(where, f"{key}.shape", f"expected {expected}, got {list(record.shape)}")
    if not 0 <= record.crc32 < 1 << 32:
        raise damaged(where, f"{key}.crc32", f"{record.crc32} is no CRC-32")
    if record.generation < 0:
        raise damaged(where, f"{key}.generation", "must be at least 0")


def damaged(where: str, key: str, why: str) -> GalleryError:
    """Return the error of a manifest that cannot be."""
    return GalleryError(f"{where}: {key}: {why}; {REMEDY}")
