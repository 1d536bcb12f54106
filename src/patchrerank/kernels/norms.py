"""Squared norms of rows as they are stored, without a float32 copy of half floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._tiles import square_sum
from patchrerank.kernels.jit import compiled
from patchrerank.types import Floats


def squared_norms(rows: npt.NDArray[Any]) -> Floats:
    """Return the squared norm of each row, float32 ``(n,)``; NaN or infinite where a value is.

    Args:
        rows: float16, float32 or float64 ``(n, d)``.
    """
    if rows.dtype == np.float16:
        held = np.ascontiguousarray(rows)
        found = np.empty(len(held), dtype=np.float32)
        _half_norms(held.ctypes.data, held.shape[1], np.uint16(0), found)
        return found
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.einsum("ij,ij->i", rows, rows), dtype=np.float32)


@compiled
def _half_norms(address: int, dim: int, tag: Any, found: Floats) -> None:
    for row in range(len(found)):
        found[row] = square_sum(tag, address + 2 * dim * row, dim)
