"""What a catalogue consists of, and the bytes of each of its arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace

from patchrerank.errors import SettingError
from patchrerank.gallery.arrays import record_bytes
from patchrerank.gallery.id_table import ID_TABLE, TABLE_FROM, TABLE_RECORD, table_size
from patchrerank.gallery.manifest import ArrayRecord
from patchrerank.gallery.storage import patches_at
from patchrerank.gallery.stores import (
    PATCH_ARRAYS,
    STORES,
    check_store,
    gallery_records,
    split_store,
)

ID_BYTES = 24


@dataclass(frozen=True)
class Workload:
    """A catalogue, and what a request asks of it.

    Attributes:
        images: how many.
        dim: dimensions of a vector.
        patches: an image.
        store: of the patch vectors, as ``index`` and ``compress`` name them.
        m: bytes a row of ``pq``.
        candidates: of a request.
        id_bytes: of an id, on average.
    """

    images: int
    dim: int
    patches: int = 30
    store: str = "int8"
    m: int = 64
    candidates: int = 400
    id_bytes: int = ID_BYTES

    def __post_init__(self) -> None:
        if split_store(check_store(self.store))[1]:
            raise SettingError(f"{self.store} is of two stores; plan them one by one, and add up")
        for name in ("images", "dim", "patches", "m", "candidates", "id_bytes"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.store == "pq" and self.dim % self.m:
            raise SettingError(f"m = {self.m} does not divide the {self.dim} dimensions")


def array_bytes(workload: Workload) -> dict[str, int]:
    """Return the bytes of every array of the gallery, by name: what ``Gallery.nbytes()`` would say.

    The ids' bytes are their mean length times the images; all others are exact.
    """
    images, patches = workload.images, workload.images * workload.patches
    rows = {"ids": images * workload.id_bytes, "boxes": patches}
    rows |= dict.fromkeys(PATCH_ARRAYS, patches) | {"pq_centroids": workload.m}
    records = gallery_records(workload.store, workload.dim, workload.m)
    sizes = {name: _row_bytes(record) * rows.get(name, images) for name, record in records.items()}
    if images >= TABLE_FROM:
        sizes[ID_TABLE] = _row_bytes(TABLE_RECORD) * table_size(images)
    return sizes


def _row_bytes(record: ArrayRecord) -> int:
    return record_bytes(replace(record, shape=(1, *record.shape[1:])))


def patch_bytes(workload: Workload) -> int:
    """Return the bytes of the patch vectors alone."""
    return sum(size for name, size in array_bytes(workload).items() if name in PATCH_ARRAYS)


def bytes_by_level(workload: Workload, deepest: int) -> dict[int, dict[str, int]]:
    """Return the bytes of patch vectors by grid level (0 … ``deepest``) and store.

    ``pq`` is left out where ``m`` does not divide the dimensions.
    """
    stores = [name for name in STORES if name != "pq" or workload.dim % workload.m == 0]
    return {
        level: {
            name: patch_bytes(replace(workload, patches=patches_at(level), store=name))
            for name in stores
        }
        for level in range(deepest + 1)
    }
