"""A compiled loop that only reads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchrerank.kernels.jit import compiled_loose


@compiled_loose
def total(words: npt.NDArray[np.int64]) -> np.int64:
    """Return the sum of all words; whole numbers may be summed in any order, so it vectorises."""
    found = np.int64(0)
    for index in range(len(words)):
        found += words[index]
    return found
