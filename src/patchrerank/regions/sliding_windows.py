"""Overlapping windows of the grid pyramid's sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from patchrerank.boxes import Floats
from patchrerank.errors import RegionError
from patchrerank.regions.base import MOST_REGIONS, check_count, pixel_boxes

MOST_STEPS = 1e9


@dataclass(frozen=True)
class SlidingWindows:
    """Windows of the sizes of :class:`GridPyramid`, moved by a part of their side.

    Where the stride does not divide the way, the last window is flush with the border. Stride 1
    gives the grid exactly. Source: Patchify (WACV 2026), supplement (strides 0.5 and 0.25).

    Attributes:
        level: L ≥ 0; window sides are 1, 1/2, … 1/(L+1) of the image's.
        stride: in (0, 1], as a share of the window.
        most: the most regions allowed; None: no limit.
    """

    level: int
    stride: float = 0.5
    most: int | None = field(default=MOST_REGIONS, kw_only=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.level < 0:
            raise RegionError(f"sliding-window level must be at least 0, got {self.level}")
        if not 0.0 < self.stride <= 1.0:
            raise RegionError(f"sliding-window stride must lie in (0, 1], got {self.stride}")
        counts = ((self._steps(cells) + 1) ** 2 for cells in range(1, self.level + 2))
        check_count(self.spec, counts, self.most)

    @property
    def spec(self) -> str:
        """``sliding:L:stride``."""
        return f"sliding:{self.level}:{self.stride:g}"

    @property
    def finest(self) -> float:
        """1 / (L + 1)."""
        return 1.0 / (self.level + 1)

    def boxes(self, image_id: str, width: int, height: int) -> Floats:
        """Return the windows, large ones first, each size row by row."""
        sizes = [(cells, self._offsets(cells)) for cells in range(1, self.level + 2)]
        return pixel_boxes(sizes, width, height)

    def _offsets(self, cells: int) -> list[float]:
        last = float(cells - 1)
        return [min(step * self.stride, last) for step in range(self._steps(cells) + 1)]

    def _steps(self, cells: int) -> int:
        """Return how many times a window of that size is moved, at most so often as matters."""
        return math.ceil(min((cells - 1) / self.stride, MOST_STEPS) - 1e-9)
