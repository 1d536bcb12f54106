"""What a region strategy is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from patchrerank.boxes import Floats
from patchrerank.errors import RegionError

ROUNDING = 1e-9
"""Pixels that a product of floats may fall short of the whole pixel it stands for."""


MOST_REGIONS = 5000
"""Default limit on the regions of one image: more is a slip of the pen, and takes days."""

LONGEST_SPEC = 60


class Regions(Protocol):
    """Cuts an image into regions; a new strategy is one file with one class."""

    @property
    def spec(self) -> str:
        """The strategy and its settings as text: equal specs give equal boxes for an image."""
        ...

    @property
    def finest(self) -> float | None:
        """Side of the smallest region as a share of the image's; None if it is not known.

        It decides how far a large JPEG may be reduced while it is decoded.
        """
        ...

    def boxes(self, image_id: str, width: int, height: int) -> Floats:
        """Return the regions of one image.

        Args:
            image_id: the gallery id of the image.
            width: pixels of the upright image.
            height: likewise.

        Returns:
            float32 ``(P, 4)`` relative boxes whose edges lie on whole pixels. A region that is
            the whole image, if there is one, comes first.

        Raises:
            RegionError: the strategy has nothing to say about this image.
        """
        ...


def check_count(what: str, counts: Iterable[float], most: int | None) -> None:
    """Refuse more regions an image than ``most``; None: no limit.

    Args:
        what: the strategy, for the message.
        counts: their numbers in parts, taken one by one until they are too many.
        most: at least 1.

    Raises:
        RegionError: too many, or ``most`` is below 1.
    """
    if most is None:
        return
    if most < 1:
        raise RegionError(f"the most regions of an image must be at least 1, got {most}")
    total = 0.0
    for count in counts:
        total += count
        if total > most:
            short = what if len(what) <= LONGEST_SPEC else f"{what[:LONGEST_SPEC]}…"
            raise RegionError(
                f"{short}: more than {most:,} regions an image; ask for fewer, or allow more with "
                "most= (--max-regions of index and evaluate)"
            )


def window(offset: float, cells: int, side: int) -> tuple[int, int]:
    """Return the pixels ``[start, end)`` of a window at ``offset`` cells of ``side / cells``.

    Windows at 0, 1, … ``cells - 1`` partition the side exactly, also when it does not divide;
    where it has fewer pixels than cells, neighbours share pixels and none is empty.
    """
    start = min(int(offset * side / cells + ROUNDING), side - 1)
    return start, max(int((offset + 1) * side / cells + ROUNDING), start + 1)


def pixel_boxes(offsets_by_cells: list[tuple[int, list[float]]], width: int, height: int) -> Floats:
    """Return all windows of all sizes as relative boxes, row by row, coarse sizes first."""
    found = []
    for cells, offsets in offsets_by_cells:
        columns = [window(offset, cells, width) for offset in offsets]
        for offset in offsets:
            top, bottom = window(offset, cells, height)
            found += [(left, top, right, bottom) for left, right in columns]
    scale = np.array([width, height, width, height], dtype=np.float64)
    return (np.array(found, dtype=np.float64).reshape(-1, 4) / scale).astype(np.float32)
