"""Which columns of a Parquet file hold pictures and ids: as told, or found by type and name."""

from __future__ import annotations

from typing import Any

from patchrerank.addresses import Place
from patchrerank.errors import GalleryError
from patchrerank.file_bounds import check_memory
from patchrerank.gallery.arrow_files import arrow

FILE_ROW = "file/row"
"""In place of a column of ids: the file's name and the row's number."""
ID_COLUMNS = ("key", "id", "ids", "image_id", "uid", "uuid")
IMAGE_COLUMNS = ("jpg", "png", "webp", "image.bytes", "image", "img.bytes", "img", "bytes")
BINARY = ("binary", "large_binary", "binary_view")
TEXT = ("string", "large_string", "string_view")
ROWS_A_PAGE = 1024
COPIES = 4
"""Of a page, while it is read: compressed, plain, and as values."""


def leaves_of(schema: Any) -> dict[str, Any]:
    """Return the type of each column, those within structs under dotted names."""
    found: dict[str, Any] = {}
    fields = [(field.name, field.type) for field in schema]
    for name, kind in fields:
        if str(kind).startswith("struct<"):
            fields += [(f"{name}.{inner.name}", inner.type) for inner in kind]
        found.setdefault(name, kind)
    return found


def image_column(leaves: dict[str, Any], asked: str | None, path: Place) -> str:
    """Return the column of pictures' bytes.

    Args:
        leaves: type of each column.
        asked: the one that was named, or the struct that holds it.
        path: of the file, for messages.

    Raises:
        GalleryError: there is none, or several; it is of another type.
    """
    found = [name for name, kind in leaves.items() if str(kind) in BINARY]
    if asked is not None:
        if asked not in leaves:
            raise GalleryError(f"{path}: holds no column {asked!r}; it has {_listed(leaves)}")
        for name in (asked, f"{asked}.bytes"):
            if name in found:
                return name
        raise GalleryError(
            f"{path}: the column {asked!r} is {str(leaves[asked])[:200]}; pictures are binary, the "
            "bytes of a picture file each (or a struct with such bytes)"
        )
    named = [name for name in IMAGE_COLUMNS if name in found]
    if len(found) == 1 or named:
        return (named or found)[0]
    what = f"several binary columns, {', '.join(found)}" if found else "no binary column"
    raise GalleryError(
        f"{path}: holds {what}; say which has the bytes of pictures with image_column= "
        f"(--image-column); it has {_listed(leaves)}"
    )


def id_column(leaves: dict[str, Any], asked: str | None, path: Place) -> str:
    """Return the column of ids, or ``file/row``; arguments as for :func:`image_column`.

    Raises:
        GalleryError: there is none.
    """
    if asked is None:
        asked = next((name for name in ID_COLUMNS if name in leaves), None)
    if asked is None or (asked not in leaves and asked != FILE_ROW):
        what = "no column of a usual name for ids" if asked is None else f"no column {asked!r}"
        raise GalleryError(
            f"{path}: holds {what}; say which has the ids with id_key= (--id-column), or "
            f"{FILE_ROW!r} to number the rows; it has {_listed(leaves)}"
        )
    return asked


def id_type(kind: Any, name: str, path: Place) -> str:
    """Return what ids of an Arrow type are: a name in ``id_types.ID_TYPES``.

    Raises:
        GalleryError: the column ``name`` holds no ids.
    """
    text = str(kind)
    if text in TEXT:
        return "text"
    if text.startswith(("int", "uint")):
        return "int"
    if str(getattr(kind, "storage_type", kind)) == "fixed_size_binary[16]":
        return "uuid"
    raise GalleryError(
        f"{path}: the column {name!r} is {text[:200]}; ids are text, whole numbers, or "
        "fixed_size_binary[16] for UUIDs"
    )


def check_pages(file: Any, column: str, path: Place) -> None:
    """Refuse a file whose largest page of pictures does not fit into memory, as far as is known.

    A page is read whole, and writers put up to 1,024 rows into one, whatever their size.

    Raises:
        GalleryError: names the file and what to do.
    """
    made, largest = file.metadata, 0.0
    for group in range(file.num_row_groups):
        rows = made.row_group(group)
        leaves = (rows.column(number) for number in range(rows.num_columns))
        size = next(
            leaf.total_uncompressed_size for leaf in leaves if leaf.path_in_schema == column
        )
        largest = max(largest, size * min(1.0, ROWS_A_PAGE / max(1, rows.num_rows)))
    where = f"{path}: {column!r} (write it with row_group_size=100, so that less is read at once)"
    check_memory(int(COPIES * largest), where, GalleryError)


def column_of(batch: Any, name: str) -> Any:
    """Return a column of a batch, or one within a struct."""
    if name in batch.schema.names:
        return batch.column(batch.schema.get_field_index(name))
    top, _, inner = name.partition(".")
    return arrow().compute.struct_field(
        batch.column(batch.schema.get_field_index(top)), inner.split(".")
    )


def _listed(leaves: dict[str, Any]) -> str:
    return ", ".join(f"{name} ({str(kind)[:40]})" for name, kind in leaves.items())[:400]
