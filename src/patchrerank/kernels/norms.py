"""Squared norms of rows as they are stored, without a float32 copy of half floats."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.kernels.jit import compiled
from patchrerank.types import Floats


def squared_norms(rows: npt.NDArray[Any]) -> Floats:
    """Return the squared norm of each row, float32 ``(n,)``; NaN or infinite where a value is.

    Args:
        rows: float16, float32 or float64 ``(n, d)``.
    """
    if rows.dtype == np.float16:
        found = np.empty(len(rows), dtype=np.float32)
        _half_norms(np.ascontiguousarray(rows).view(np.uint16), _squares(), found)
        return found
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.einsum("ij,ij->i", rows, rows), dtype=np.float32)


@cache
def _squares() -> Floats:
    """Return the square of each of the 65,536 half floats, by its bits."""
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(np.float16)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.square(every.astype(np.float32)), dtype=np.float32)


@compiled
def _half_norms(rows: Any, squares: Floats, found: Floats) -> None:
    for row in range(len(rows)):
        total = np.float32(0)
        for place in range(rows.shape[1]):
            total += squares[rows[row, place]]
        found[row] = total
