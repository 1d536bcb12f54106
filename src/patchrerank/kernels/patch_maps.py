"""``patch_maps``: the scores of an image's patches as a map over its picture."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.types import Floats

CELLS = 16
"""Cells of a map along each axis."""

WIDTH = 0.35
"""σ of a patch's bell, as a share of the patch's side."""


def patch_maps(
    similarities: npt.ArrayLike,
    boxes: npt.ArrayLike,
    counts: npt.ArrayLike,
    *,
    cells: int = CELLS,
    width: float = WIDTH,
) -> Floats:
    """Return for each candidate a map of its patches' scores, a weighted mean in each cell.

    A patch weighs by a Gaussian around its centre, with σ = ``width`` times its side along each
    axis, divided by its area, so that a small patch decides where it lies and a large one fills
    in between. A cell that no patch reaches gets the candidate's lowest score.

    Args:
        similarities: float32 ``(n_1 + n_2 + …,)``, candidate by candidate, finite.
        boxes: float32 ``(n_1 + n_2 + …, 4)`` in [0, 1], where the patches lie.
        counts: int64 ``(K,)``, patches of each candidate, at least 1.
        cells: along each axis.
        width: above 0.

    Returns:
        float32 ``(K, cells, cells)``, between the lowest and the highest score of the candidate.

    Raises:
        SettingError: arrays of the wrong shape, a candidate without patches, or a setting out
            of range.
    """
    scores = np.ascontiguousarray(similarities, dtype=np.float32)
    places = np.ascontiguousarray(boxes, dtype=np.float32)
    numbers = np.ascontiguousarray(counts, dtype=np.int64)
    if places.shape != (len(scores), 4) or scores.ndim != 1 or int(numbers.sum()) != len(scores):
        raise SettingError(
            f"similarities {scores.shape}, boxes {places.shape} and counts that sum to "
            f"{numbers.sum()} do not belong together"
        )
    if (numbers < 1).any() or cells < 1 or not width > 0.0:
        raise SettingError("patch maps need at least one patch a candidate, cells, and a width")
    maps = np.empty((len(numbers), cells, cells), dtype=np.float32)
    _kernel()(scores, places, numbers, width, maps)
    return maps


@cache
def _kernel() -> Any:
    from patchrerank.kernels._spread import spread

    return spread
