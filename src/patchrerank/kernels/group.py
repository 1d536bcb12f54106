"""From patches to images: the first hit of each image in a sorted list of patches."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]


def first_hits(
    patches: Int64, image_of_patch: npt.NDArray[np.int32], images: int, size: int
) -> Int64:
    """Return where each query's first ``size`` distinct images stand in its list of patches.

    Since the lists are sorted, the first patch of an image is its best.

    Args:
        patches: int64 ``(Q, D)`` patch numbers, best first; ``-1`` ends a list.
        image_of_patch: int32 ``(T,)``.
        images: number of images N.
        size: images wanted.

    Returns:
        int64 ``(Q, size)`` positions in ``[0, D)``, ascending; ``-1`` where there are no more.
    """
    slots = np.full((len(patches), size), -1, dtype=np.int64)
    if size and patches.size:
        seen = np.full(images, -1, dtype=np.int64)
        _kernel()(np.ascontiguousarray(patches), image_of_patch, seen, slots)
    return slots


@cache
def _kernel() -> Any:
    from patchrerank.kernels.jit import compiled

    @compiled
    def fill(patches: Any, image_of_patch: Any, seen: Any, slots: Any) -> None:
        size = slots.shape[1]
        for query in range(patches.shape[0]):
            row, count = patches[query], 0
            for position in range(row.shape[0]):
                if row[position] < 0 or count == size:
                    break
                image = image_of_patch[row[position]]
                if seen[image] != query:
                    seen[image] = query
                    slots[query, count] = position
                    count += 1

    return fill
