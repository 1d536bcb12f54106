"""Region strategies by name, for the command line and manifests."""

from __future__ import annotations

from collections.abc import Callable

from patchrerank.errors import PatchRerankError, RegionError, near_matches
from patchrerank.regions.base import Regions
from patchrerank.regions.fixed_boxes import FixedBoxes
from patchrerank.regions.grid_pyramid import GridPyramid
from patchrerank.regions.grounding_dino import GroundingDINO
from patchrerank.regions.selective_search import SelectiveSearch
from patchrerank.regions.sliding_windows import SlidingWindows

MANY = 99
ONE_PASS = " one-pass:"


def _grounding_dino(parts: list[str]) -> GroundingDINO:
    top, prompt, first, *rest = parts
    return GroundingDINO(":".join([first, *rest]), prompt, int(top))


STRATEGIES: dict[str, tuple[Callable[[list[str]], Regions], int, str]] = {
    "grid": (lambda parts: GridPyramid(int(parts[0])), 1, "grid:L"),
    "sliding": (
        lambda parts: SlidingWindows(int(parts[0]), *map(float, parts[1:2])),
        2,
        "sliding:L[:stride]",
    ),
    "selective": (lambda parts: SelectiveSearch(*map(int, parts)), 2, "selective[:top[:side]]"),
    "grounding_dino": (_grounding_dino, MANY, "grounding_dino:top:prompt:CHECKPOINT"),
    "boxes": (lambda parts: FixedBoxes.from_json(":".join(parts)), MANY, "boxes:FILE.json"),
    "coco": (
        lambda parts: FixedBoxes.from_coco(parts[0], *parts[1:]),
        2,
        "coco:FILE.json[:RESULTS.json]",
    ),
}
"""Name → maker, the most parts behind the name, usage."""

USAGE = ", ".join(usage for _, _, usage in STRATEGIES.values())


def parse_regions(spec: str) -> Regions:
    """Return the strategy that ``spec`` names.

    - ``grid:L``: Patchify's pyramid;
    - ``sliding:L[:stride]``: overlapping windows;
    - ``selective[:top[:side]]``: selective search;
    - ``grounding_dino:top:prompt:CHECKPOINT``: the checkpoint is a folder, or a hub name;
    - ``boxes:FILE.json``: image id → relative boxes;
    - ``coco:FILE.json[:RESULTS.json]``: a detector's boxes in the COCO layout.

    Raises:
        RegionError: unknown name (with near matches) or settings that are not numbers.
        MissingExtraError: the strategy needs a package that is not installed.
    """
    plain, recorded, views = spec.partition(ONE_PASS)
    if recorded:
        raise RegionError(
            f"{spec!r} is how a gallery records regions pooled in one pass; use {plain!r} as "
            f"regions, and index with --one-pass {views.partition(' ')[0]}"
        )
    name, *parts = spec.split(":")
    if name not in STRATEGIES:
        raise RegionError(
            f"region strategy {name!r} is unknown{near_matches(name, STRATEGIES)}; use {USAGE}"
        )
    make, most, usage = STRATEGIES[name]
    if len(parts) > most:
        raise RegionError(f"region strategy {spec!r} has parts too many; use {usage}")
    try:
        return make(parts)
    except PatchRerankError:
        raise
    except (ValueError, IndexError) as error:
        raise RegionError(f"region strategy {spec!r} is malformed; use {usage}") from error
