"""Where the zero bytes of a text are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.kernels._tiles import word_at
from patchrerank.kernels.jit import compiled
from patchrerank.types import Rows


def zeros_of(text: bytes, count: int) -> Rows:
    """Return where the zero bytes of a text are, int64 ``(count,)``; of more of them, none."""
    places = np.empty(count, dtype=np.int64)
    return places[: _zeros(np.frombuffer(text, dtype=np.uint8), places)]


@compiled
def _zeros(text: npt.NDArray[np.uint8], places: Rows) -> Any:
    """Look at eight bytes at a time; return how many were found, 0 if there are more."""
    ones, tops = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    begin, size, found = np.int64(text.ctypes.data), len(text), 0
    for start in range(0, size, 8):
        if start + 8 <= size:
            word = word_at(begin + start)
            if not (word - ones) & ~word & tops:
                continue
        for place in range(start, min(start + 8, size)):
            if text[place] == 0:
                if found == len(places):
                    return 0
                places[found] = place
                found += 1
    return found
