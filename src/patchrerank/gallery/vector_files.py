"""Vectors in one place: what an export wrote, and others' files of the same layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchrerank.errors import GalleryError
from patchrerank.gallery.export_columns import read_record
from patchrerank.gallery.exporting import RECORD_FILE
from patchrerank.gallery.import_origin import Origin


@dataclass(frozen=True)
class VectorFiles:
    """Arguments of :func:`patchrerank.gallery.import_gallery`, as they were found.

    Attributes:
        ids: of the N images.
        global_vectors: ``(N, d)``.
        patches: ``(N, P, d)`` or ``(T, d)``.
        counts: of patches; None: P each.
        boxes: None: there are none.
        regions: None: not known.
        encoder: what made them; None: not known.
    """

    ids: Any
    global_vectors: Any
    patches: Any
    counts: Any = None
    boxes: Any = None
    regions: str | None = None
    encoder: Origin | None = None


def read_vectors(path: str | Path) -> VectorFiles:
    """Find the arrays of a folder of ``.npy`` files.

    Raises:
        GalleryError: something is missing; names it.
    """
    where = Path(path)
    if not where.is_dir():
        raise GalleryError(f"{where}: is no folder; name one with globals.npy, patches.npy and ids")
    names = [where / f"ids.{suffix}" for suffix in ("npy", "json", "txt")]
    found = [name for name in names if name.is_file()]
    if len(found) != 1:
        held = " and ".join(name.name for name in found) or "no ids (ids.json, ids.npy, ids.txt)"
        raise GalleryError(f"{where}: holds {held}; one file of ids is needed")
    arrays = {name: where / f"{name}.npy" for name in ("globals", "patches", "counts", "boxes")}
    there: dict[str, Any] = {name: file for name, file in arrays.items() if file.is_file()}
    for name in ("globals", "patches"):
        if name not in there:
            raise GalleryError(f"{where}: holds no {name}.npy")
    origin, regions = _record(where / RECORD_FILE)
    return VectorFiles(
        found[0],
        there["globals"],
        there["patches"],
        there.get("counts"),
        there.get("boxes"),
        regions,
        origin,
    )


def _record(path: Path) -> tuple[Origin | None, str | None]:
    if not path.is_file():
        return None, None
    try:
        return read_record(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise GalleryError(f"{path}: cannot be read ({error})") from error
