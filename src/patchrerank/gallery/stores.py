"""How patch vectors lie in a gallery: one entry a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from patchrerank.gallery.arrays import Array

if TYPE_CHECKING:
    from patchrerank.kernels import PatchStore

STORES = {"float32": "<f4", "float16": "<f2"}
"""Stores that a build can write directly, and the dtype of their ``patches`` array."""


def open_store(store: str, arrays: Mapping[str, Array]) -> PatchStore:
    """Return a gallery's patch vectors as the scoring kernels take them."""
    from patchrerank import kernels

    makers = {"float32": kernels.Float32Store, "float16": kernels.Float16Store}
    return makers[store](arrays["patches"])
