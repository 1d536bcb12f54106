"""Patchify's grid pyramid."""

from __future__ import annotations

from dataclasses import dataclass, field

from patchrerank.boxes import Floats
from patchrerank.errors import RegionError
from patchrerank.regions.base import MOST_REGIONS, check_count, pixel_boxes


@dataclass(frozen=True)
class GridPyramid:
    """Cumulative grids: level L holds 1×1, 2×2, … (L+1)×(L+1) non-overlapping patches.

    L0 = 1, L1 = 5, L2 = 14, L3 = 30 patches. Source: Patchify (WACV 2026), supplement.

    Attributes:
        level: L ≥ 0.
        most: the most regions allowed; None: no limit.
    """

    level: int
    most: int | None = field(default=MOST_REGIONS, kw_only=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.level < 0:
            raise RegionError(f"grid level must be at least 0, got {self.level}")
        counts = (cells * cells for cells in range(1, self.level + 2))
        check_count(self.spec, counts, self.most)

    @property
    def spec(self) -> str:
        """``grid:L``."""
        return f"grid:{self.level}"

    @property
    def finest(self) -> float:
        """1 / (L + 1)."""
        return 1.0 / (self.level + 1)

    def boxes(self, image_id: str, width: int, height: int) -> Floats:
        """Return the patches, level by level, each row by row; ``image_id`` is not used."""
        grids = [
            (cells, [float(cell) for cell in range(cells)]) for cells in range(1, self.level + 2)
        ]
        return pixel_boxes(grids, width, height)
