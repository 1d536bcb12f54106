"""Region strategies by name, for the command line and manifests."""

from __future__ import annotations

from collections.abc import Callable

from patchrerank.errors import RegionError, near_matches
from patchrerank.regions.base import Regions
from patchrerank.regions.fixed_boxes import FixedBoxes
from patchrerank.regions.grid_pyramid import GridPyramid
from patchrerank.regions.sliding_windows import SlidingWindows

STRATEGIES: dict[str, Callable[[list[str]], Regions]] = {
    "grid": lambda parts: GridPyramid(int(parts[0])),
    "sliding": lambda parts: SlidingWindows(int(parts[0]), *map(float, parts[1:2])),
    "boxes": lambda parts: FixedBoxes.from_json(":".join(parts)),
}


MOST_PARTS = {"grid": 1, "sliding": 2, "boxes": 99}
USAGE = "use grid:3, sliding:3:0.5 or boxes:FILE.json"


def parse_regions(spec: str) -> Regions:
    """Return the strategy that ``spec`` names.

    ``grid:L``, ``sliding:L[:stride]``, or ``boxes:FILE.json``.

    Raises:
        RegionError: unknown name (with near matches) or settings that are not numbers.
    """
    name, *parts = spec.split(":")
    if name not in STRATEGIES:
        raise RegionError(
            f"region strategy {name!r} is unknown{near_matches(name, STRATEGIES)}; "
            "use grid:L, sliding:L:stride or boxes:FILE.json"
        )
    if len(parts) > MOST_PARTS[name]:
        raise RegionError(f"region strategy {spec!r} has parts too many; {USAGE}")
    try:
        return STRATEGIES[name](parts)
    except (ValueError, IndexError) as error:
        if isinstance(error, RegionError):
            raise
        raise RegionError(f"region strategy {spec!r} is malformed; {USAGE}") from error
