"""Vectors that were made elsewhere, as they were found in files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from patchrerank.gallery.import_origin import Origin


@dataclass(frozen=True)
class Vectors:
    """Arguments of :func:`patchrerank.gallery.import_gallery`.

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
