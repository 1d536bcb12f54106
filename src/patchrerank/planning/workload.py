"""What a catalogue consists of, and the bytes of each of its arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace

from patchrerank.errors import SettingError
from patchrerank.gallery.arrays import record_bytes
from patchrerank.gallery.id_table import ID_TABLE, TABLE_FROM, TABLE_RECORD, table_size
from patchrerank.gallery.manifest import ArrayRecord
from patchrerank.gallery.stamps import STAMPS, STAMPS_RECORD
from patchrerank.gallery.storage import patches_at
from patchrerank.gallery.stores import (
    EXACT_ARRAYS,
    NOT_EXACT,
    PATCH_ARRAYS,
    STORES,
    check_store,
    gallery_records,
    split_store,
)
from patchrerank.kernels.stores import RESCORE

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
        rescore: how many of them finer rows beside codes score again; None: as many as is usual.
        id_bytes: of an id, on average.
        stamped: whether it keeps the size, time and digest of each picture's file, as one that is
            indexed does; one that is imported does not.
    """

    images: int
    dim: int
    patches: int = 30
    store: str = "int8"
    m: int = 64
    candidates: int = 400
    rescore: int | None = None
    id_bytes: int = ID_BYTES
    stamped: bool = True

    def __post_init__(self) -> None:
        check_store(self.store)
        for name in ("images", "dim", "patches", "m", "candidates", "id_bytes"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.rescore is not None and not self.finer:
            raise SettingError(NOT_EXACT.format(store=self.store))
        if self.rescored < 0:
            raise SettingError(f"rescore must be at least 0, got {self.rescore}")
        if self.quantised and self.dim % self.m:
            raise SettingError(f"m = {self.m} does not divide the {self.dim} dimensions")

    @property
    def quantised(self) -> bool:
        """Whether a product quantiser makes the codes."""
        return split_store(self.store)[0] == "pq"

    @property
    def rescored(self) -> int:
        """How many candidates finer rows score again, where there are any."""
        return RESCORE if self.rescore is None else self.rescore

    @property
    def finer(self) -> str:
        """The store of finer rows beside codes; empty: there are none."""
        return split_store(self.store)[1]


def array_bytes(workload: Workload) -> dict[str, int]:
    """Return the bytes of every array of the gallery, by name: what ``Gallery.nbytes()`` would say.

    The ids' bytes are their mean length times the images; all others are exact, of pictures that
    are files (where each lies in a tar or Parquet file takes 24 bytes more).
    """
    images, patches = workload.images, workload.images * workload.patches
    rows = {"ids": images * workload.id_bytes, "boxes": patches}
    rows |= dict.fromkeys(PATCH_ARRAYS, patches) | {"pq_centroids": workload.m}
    records = gallery_records(workload.store, workload.dim, workload.m)
    records |= {STAMPS: STAMPS_RECORD} if workload.stamped else {}
    sizes = {name: _row_bytes(record) * rows.get(name, images) for name, record in records.items()}
    if images >= TABLE_FROM:
        sizes[ID_TABLE] = _row_bytes(TABLE_RECORD) * table_size(images)
    return sizes


def _row_bytes(record: ArrayRecord) -> int:
    return record_bytes(replace(record, shape=(1, *record.shape[1:])))


def patch_bytes(workload: Workload) -> int:
    """Return the bytes of the patch vectors alone."""
    return sum(size for name, size in array_bytes(workload).items() if name in PATCH_ARRAYS)


def request_bytes(workload: Workload) -> float:
    """Return the bytes of patch vectors that a request reads."""
    arrays = array_bytes(workload)
    fine = sum(arrays.get(name, 0) for name in EXACT_ARRAYS.values()) / workload.images
    if not fine:
        return workload.candidates * patch_bytes(workload) / workload.images
    if workload.rescored >= workload.candidates:
        return workload.candidates * fine  # codes are not looked at
    codes = patch_bytes(workload) / workload.images - fine
    return workload.candidates * codes + workload.rescored * fine


def bytes_by_level(workload: Workload, deepest: int) -> dict[int, dict[str, int]]:
    """Return the bytes of patch vectors by grid level (0 … ``deepest``) and store.

    ``pq`` is left out where ``m`` does not divide the dimensions; a store of codes and finer rows
    is there if it is the workload's.
    """
    stores = [name for name in STORES if name != "pq" or workload.dim % workload.m == 0]
    stores += [workload.store] * bool(workload.finer)
    plain = replace(workload, rescore=None)
    return {
        level: {
            name: patch_bytes(replace(plain, patches=patches_at(level), store=name))
            for name in stores
        }
        for level in range(deepest + 1)
    }
