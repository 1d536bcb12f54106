"""How rows of a store lie on a device: as what can be multiplied, or looked up, there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.kernels.code_stores import PQStore, RabitqStore
from patchrerank.kernels.packed_codes import unpacked
from patchrerank.kernels.rabitq import levels_of
from patchrerank.kernels.segments import taken
from patchrerank.kernels.stores import Float16Store, Float32Store, Int8Store, quantise_int8
from patchrerank.types import Floats, Rows


def rows_of(store: Any, rows: Rows) -> tuple[npt.NDArray[Any], Floats | None]:
    """Return rows ``(n,)`` of a store as they lie on a device, and their factors.

    Floats and int8 as they are; codes of a product quantiser one byte each; levels of rotated
    codes, doubled, as int8 (queries are rotated for them); signs as int8.
    """
    if isinstance(store, Float32Store | Float16Store):
        return taken(store.data, rows), None
    if isinstance(store, Int8Store):
        return taken(store.codes, rows), taken(store.scales, rows)
    if isinstance(store, PQStore):
        return unpacked(taken(store.codes, rows), len(store.centroids), store.bits), None
    if isinstance(store, RabitqStore):
        levels = 2 * levels_of(taken(store.codes, rows), store.dim, store.bits)
        return levels.astype(np.int8), taken(store.scales, rows) * np.float32(0.5)
    return quantise_int8(store.decode(rows))  # signs: exact


def row_bytes(store: Any) -> int:
    """Return the bytes of a row there, its factor included; 0 of a store without rows."""
    first = rows_of(store, np.zeros(min(1, len(store)), dtype=np.int64))
    return sum(part.nbytes for part in first if part is not None)
