"""Which columns of a table are which, by name, or by a type that only one of them has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrow_files import ArrowFile

COLUMNS = ("ids", "globals", "patches", "boxes", "sizes", "local", "places")
NEEDED = ("ids", "globals")
TEXT = ("string", "large_string", "string_view")
FLOATS = ("halffloat", "float", "double")
UUID_BYTES = 16


def find_columns(file: ArrowFile, named: Mapping[str, str]) -> dict[str, str]:
    """Return the name of each column that there is, by what it holds: a word of ``COLUMNS``.

    Raises:
        GalleryError: a named or needed one is missing, or may be one of several.
    """
    names = list(file.schema.names)
    for name in named.values():
        if name not in names:
            raise _missing(file, name)
    found = {key: key for key in COLUMNS if key in names and key not in named} | dict(named)
    for key, fits in BY_TYPE.items():
        if key in found:
            continue
        free = [name for name in names if name not in found.values()]
        fitting = [name for name in free if fits(file.schema.field(name).type)]
        fitting = [name for name in fitting if name == "id"] or fitting
        if len(fitting) > 1:
            raise GalleryError(
                f"{file.path}: which column has the {key}, {' or '.join(map(repr, fitting))}? Say "
                f"so: columns={{{key!r}: {fitting[0]!r}}} (--columns {key}={fitting[0]})"
            )
        if fitting:
            found[key] = fitting[0]
        elif key in NEEDED:
            raise _missing(file, key)
    return found


def _missing(file: ArrowFile, name: str) -> GalleryError:
    held = ", ".join(file.schema.names)[:200]
    return GalleryError(f"{file.path}: holds no column {name!r}; it has {held}")


def is_list(kind: Any) -> bool:
    """Return whether values of a type are lists, of one length or of any."""
    return str(kind).startswith(("list<", "large_list<", "fixed_size_list<"))


def is_uuid(kind: Any) -> bool:
    """Return whether values of a type are sixteen bytes."""
    return str(getattr(kind, "storage_type", kind)) == f"fixed_size_binary[{UUID_BYTES}]"


def _ids(kind: Any) -> bool:
    return str(kind) in TEXT or str(kind).startswith(("int", "uint")) or is_uuid(kind)


def _vectors(kind: Any) -> bool:
    return is_list(kind) and str(kind.value_type) in FLOATS


def _many_vectors(kind: Any) -> bool:
    return is_list(kind) and _vectors(kind.value_type)


BY_TYPE: dict[str, Callable[[Any], bool]] = {
    "ids": _ids,
    "globals": _vectors,
    "patches": _many_vectors,
}
"""What is found by its type where no column is called so."""
