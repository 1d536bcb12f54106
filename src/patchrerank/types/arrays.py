"""What the arrays that flow through the house are made of."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from patchrerank.errors import PatchRerankError, short_reason, shown

Floats: TypeAlias = npt.NDArray[np.float32]
Rows: TypeAlias = npt.NDArray[np.int64]

EMPTY = -1
"""The row number that marks an empty slot of a shortlist."""


def nan_table(*shape: int) -> Floats:
    """Return a float32 table of NaN."""
    table = np.empty(shape, dtype=np.float32)
    table.fill(np.nan)
    return table


def float_array(values: Any, what: str, error: type[PatchRerankError]) -> Floats:
    """Return values as a C-contiguous float32 array.

    Raises:
        PatchRerankError: of the kind given; they are no numbers, or rows of different lengths.
    """
    if type(values) is np.ndarray and values.dtype == np.float32 and values.flags.c_contiguous:
        return values
    try:
        found = np.asarray(values)
        if found.dtype.kind not in "biufO" or (found.dtype == object and None in found.flat):
            raise TypeError(f"{found.dtype} is no kind of number")
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(found, dtype=np.float32).reshape(found.shape)
    except (TypeError, ValueError) as reason:
        raise error(
            f"{what}: expected an array of numbers, got {shown(values)} ({short_reason(reason)})"
        ) from reason
