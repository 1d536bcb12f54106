"""How local descriptors lie on disk: float32, float16, int8, or one bit a dimension."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError, near_matches
from patchrerank.gallery.arrays import Array
from patchrerank.gallery.manifest import ArrayRecord
from patchrerank.gallery.stores import open_store, store_columns, store_records
from patchrerank.types import Floats, Rows

if TYPE_CHECKING:
    from patchrerank.kernels import Float16Store, Float32Store, Int8Store

LOCAL_STORES = ("float32", "float16", "int8", "binary")
NAMES = {"patches": "descriptors", "patch_scales": "descriptor_scales"}
"""Name of an array in a store of patches → its name in a local store."""


@dataclass(frozen=True, eq=False)
class BinaryStore:
    """One bit a dimension: whether the value is strictly positive.

    Attributes:
        codes: uint8 ``(T, ceil(D / 8))``, bits packed most significant first (``np.packbits``).
        dim: D.
    """

    codes: npt.NDArray[np.uint8]
    dim: int

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def bytes_per_row(self) -> int:
        """Bytes read for one row."""
        return int(self.codes.shape[1])

    def decode(self, rows: Rows) -> Floats:
        """Return rows ``(n,)`` as float32 ``(n, D)``: −1 or +1, divided by √D (unit norm)."""
        bits = np.unpackbits(self.codes[rows], axis=1, count=self.dim)
        signs = 2.0 * bits.astype(np.float32) - 1.0
        return np.asarray(signs / np.float32(np.sqrt(self.dim)), dtype=np.float32)


LocalRows: TypeAlias = "Float32Store | Float16Store | Int8Store | BinaryStore"


def pack_signs(vectors: Floats) -> npt.NDArray[np.uint8]:
    """Return the signs of vectors ``(n, D)`` as uint8 ``(n, ceil(D / 8))``; 1 = above 0.

    Source: the binary storage of ELViS; 0 counts as negative.
    """
    return np.packbits(np.asarray(vectors) > 0, axis=1)


def check_local_store(store: str) -> str:
    """Return ``store`` if local descriptors can be stored so.

    Raises:
        SettingError: they cannot; near matches are listed.
    """
    if store not in LOCAL_STORES:
        raise SettingError(
            f"local store {store!r} is unknown{near_matches(store, LOCAL_STORES)}; use "
            f"{', '.join(LOCAL_STORES)}"
        )
    return store


def local_records(store: str, dim: int) -> dict[str, ArrayRecord]:
    """Return the descriptor arrays of an empty local store for ``dim`` dimensions."""
    if store == "binary":
        return {"descriptors": ArrayRecord("|u1", (0, (dim + 7) // 8))}
    return {NAMES[name]: record for name, record in store_records(store, dim).items()}


def local_columns(store: str, vectors: Floats) -> dict[str, Array]:
    """Return what is appended to the descriptor arrays for vectors float32 ``(n, D)``."""
    if store == "binary":
        return {"descriptors": pack_signs(vectors)}
    return {NAMES[name]: rows for name, rows in store_columns(store, vectors, None).items()}


def open_local_rows(store: str, dim: int, arrays: Mapping[str, Array]) -> LocalRows:
    """Return the descriptors as the scoring kernels take them (binary ones: to be decoded)."""
    if store == "binary":
        return BinaryStore(cast("npt.NDArray[np.uint8]", arrays["descriptors"]), dim)
    found = open_store(store, {old: arrays[new] for old, new in NAMES.items() if new in arrays})
    return cast("Float32Store | Float16Store | Int8Store", found)  # no local store is pq
