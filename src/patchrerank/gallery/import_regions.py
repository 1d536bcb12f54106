"""Where imported patches lie: boxes of their own, those of a region strategy, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.boxes import Floats, check_boxes
from patchrerank.errors import GalleryError, SettingError, described
from patchrerank.gallery.import_ids import PackedIds
from patchrerank.gallery.manifest import GIVEN_REGIONS, NO_REGIONS
from patchrerank.gallery.row_sources import RowSource, open_rows
from patchrerank.regions import FixedBoxes, parse_regions
from patchrerank.types import Rows

if TYPE_CHECKING:
    from patchrerank.regions import Regions

SIDE = 27_720
"""Pixels of the square that a strategy is asked about: divides into 2 … 12 equal cells."""
BLOCK = 1 << 16


@dataclass(frozen=True)
class ImportBoxes:
    """The boxes of all patches, block by block; false where there are none.

    Attributes:
        spec: what a manifest records as regions.
        counts: int64 ``(N,)``, patches of each image.
        given: boxes as they were passed.
        each: float32 ``(P, 4)``, the same for every image, in place of them.
    """

    spec: str
    counts: Rows
    given: RowSource | None = None
    each: Floats | None = None

    @classmethod
    def of(
        cls,
        boxes: Any,
        regions: Regions | str | None,
        patches: RowSource,
        ends: Rows,
        packed: PackedIds,
    ) -> ImportBoxes:
        """Return the boxes of an import.

        Raises:
            GalleryError: of another number or shape than the patches.
            RegionError: an unknown spec.
            SettingError: regions that are none.
        """
        counts = np.diff(ends, prepend=0)
        if boxes is not None:
            spec = GIVEN_REGIONS if regions is None else _spec_of(regions)
            return cls(spec, counts, given=_given(open_rows(boxes, "boxes"), patches, ends))
        if regions is None or regions == NO_REGIONS:
            return cls(NO_REGIONS, counts)
        strategy = parse_regions(regions) if isinstance(regions, str) else regions
        spec = _spec_of(strategy)
        if strategy.finest is None or isinstance(strategy, FixedBoxes):
            raise GalleryError(
                f"regions {spec}: differ from picture to picture, which an import does not see; "
                "pass boxes"
            )
        each = strategy.boxes("", SIDE, SIDE)
        wrong = np.flatnonzero(counts != len(each))
        if wrong.size:
            row = int(wrong[0])
            raise GalleryError(
                f"regions {spec}: gives {len(each)} an image, but {packed.named(row)} (row {row}) "
                f"has {counts[row]} patches; pass boxes, or no regions"
            )
        return cls(spec, counts, each=each)

    def __bool__(self) -> bool:
        return self.spec != NO_REGIONS

    def blocks(self) -> Iterator[Floats]:
        """Yield the boxes, float32 ``(n, 4)``.

        Raises:
            RegionError: a malformed one; names its row.
        """
        if self.each is not None:
            step = max(1, BLOCK // max(1, len(self.each)))
            for start in range(0, len(self.counts), step):
                yield np.tile(self.each, (min(step, len(self.counts) - start), 1))
        if self.given is not None:
            first = 0
            for block in self.given.blocks(self.counts):
                yield check_boxes(block, f"{self.given.name}, counted from row {first}")
                first += len(block)


def _spec_of(regions: Regions | str) -> str:
    spec = regions if isinstance(regions, str) else getattr(regions, "spec", None)
    if not isinstance(spec, str) or not spec or spec == NO_REGIONS:
        raise SettingError(
            f"the regions are {described(regions)}; pass a spec such as 'grid:3', or a strategy"
        )
    return spec


def _given(boxes: RowSource, patches: RowSource, ends: Rows) -> RowSource:
    """Return boxes that fit to the patches: in their layout, or one behind the other."""
    flat = boxes.shape == (int(ends[-1]), 4)
    if boxes.dtype.kind not in "f" or not (flat or boxes.shape == (*patches.shape[:-1], 4)):
        raise GalleryError(
            f"{boxes.name}: {boxes.dtype} {boxes.shape}; use floats (T, 4), a box for each of "
            f"{ends[-1]} patches, x0, y0, x1, y1 in [0, 1]"
        )
    return boxes
