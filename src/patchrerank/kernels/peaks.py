"""``peak_regions``: where the peak of a small map is, and how far it reaches."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import WHOLE_IMAGE
from patchrerank.errors import SettingError
from patchrerank.types import Floats


def peak_regions(
    maps: npt.ArrayLike, windows: npt.ArrayLike | None = None, *, cut: float = 0.5
) -> Floats:
    """Return the box of the connected region around the peak of each map.

    The peak is the highest cell whose centre lies in the window (edges included), of equals the
    first row by row; a window between all centres has the cell that its middle falls into. The
    region holds the cells connected with the peak (by edges) that reach the threshold
    ``median + cut · (peak − median)`` of their map. Its box ends where the straight line
    between the centres of a cell inside and its neighbour outside falls below the threshold;
    at the border of the map it ends with the map.

    Args:
        maps: float32 ``(B, h, w)``, finite.
        windows: float32 ``(B, 4)`` boxes in [0, 1] that hold the peak; a NaN row, and None,
            stands for the whole map.
        cut: in (0, 1]: how high above the median the region is cut.

    Returns:
        float32 ``(B, 4)`` boxes in [0, 1]; NaN where the peak in the window lies below the
        map's median. A flat map is one region.

    Raises:
        SettingError: maps or windows of the wrong shape, or an impossible cut.
    """
    table = np.ascontiguousarray(maps, dtype=np.float32)
    if table.ndim != 3 or 0 in table.shape[1:]:
        raise SettingError(f"maps need the shape (B, h, w) with cells, got {table.shape}")
    if not 0.0 < cut <= 1.0:
        raise SettingError(f"cut must lie in (0, 1], got {cut}")
    frames = np.tile(WHOLE_IMAGE, (len(table), 1))
    if windows is not None:
        given = np.asarray(windows, dtype=np.float32)
        if given.shape != frames.shape:
            raise SettingError(f"windows need the shape {frames.shape}, got {given.shape}")
        frames = np.where(np.isnan(given).any(axis=1, keepdims=True), frames, given)
    boxes = np.full((len(table), 4), np.nan, dtype=np.float32)
    if len(table):
        medians = np.median(table, axis=(1, 2)).astype(np.float32)
        _kernel()(table, np.ascontiguousarray(frames), medians, np.float32(cut), boxes)
    return boxes


@cache
def _kernel() -> Any:
    from patchrerank.kernels._flood import fill_boxes

    return fill_boxes
