"""Vectors that were made elsewhere, as they were found in files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchrerank.gallery.import_origin import Origin
from patchrerank.gallery.local_vectors import LocalVectors

ENDINGS = {
    "hdf5": (".h5", ".hdf5"),
    "parquet": (".parquet",),
    "arrow": (".arrow", ".feather"),
    "lance": (".lance",),
}
"""Format of a file, or of a LanceDB table → what its name ends in."""


@dataclass(frozen=True)
class Vectors:
    """Arguments of :func:`patchrerank.gallery.import_gallery`.

    Attributes:
        ids: of the N images.
        global_vectors: ``(N, d)``.
        patches: ``(N, P, d)`` or ``(T, d)``; None: there are none.
        counts: of patches; None: P each.
        boxes: None: there are none.
        regions: None: not known.
        encoder: what made them; None: not known.
        sizes: ``(N, 2)`` of the pictures; None: not known.
        local: descriptors; None: there are none.
    """

    ids: Any
    global_vectors: Any
    patches: Any = None
    counts: Any = None
    boxes: Any = None
    regions: str | None = None
    encoder: Origin | None = None
    sizes: Any = None
    local: LocalVectors | None = None


def format_of(path: Path) -> str | None:
    """Return the format of a name, a key of ``ENDINGS``; None: it ends in nothing known."""
    suffix = path.suffix.lower()
    return next((name for name, ends in ENDINGS.items() if suffix in ends), None)
