"""Region strategies by name, for the command line and manifests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from patchrerank.errors import PatchRerankError, RegionError, near_matches
from patchrerank.regions._reading import OnError
from patchrerank.regions.base import MOST_REGIONS, Regions
from patchrerank.regions.fixed_boxes import FixedBoxes, Pixels
from patchrerank.regions.grid_pyramid import GridPyramid
from patchrerank.regions.grounding_dino import GroundingDINO
from patchrerank.regions.selective_search import SelectiveSearch
from patchrerank.regions.sliding_windows import SlidingWindows

MANY = 99
ONE_PASS = " one-pass:"


@dataclass(frozen=True)
class How:
    """What holds for any strategy: its limit, and what to do about malformed boxes in files."""

    most: int | None = MOST_REGIONS
    on_error: OnError = "raise"


def _grid(parts: list[str], how: How) -> Regions:
    return GridPyramid(int(parts[0]), most=how.most)


def _sliding(parts: list[str], how: How) -> Regions:
    return SlidingWindows(int(parts[0]), *map(float, parts[1:2]), most=how.most)


def _selective(parts: list[str], how: How) -> Regions:
    return SelectiveSearch(*map(int, parts), most=how.most)


def _grounding_dino(parts: list[str], how: How) -> Regions:
    top, prompt, first, *rest = parts
    return GroundingDINO(":".join([first, *rest]), prompt, int(top), most=how.most)


def _boxes(parts: list[str], how: How) -> Regions:
    return FixedBoxes.from_json(":".join(parts), most=how.most, on_error=how.on_error)


def _coco(parts: list[str], how: How, pixels: Pixels = "auto") -> Regions:
    files = parts[0], *parts[1:]
    return FixedBoxes.from_coco(*files, pixels=pixels, most=how.most, on_error=how.on_error)


def _coco_stored(parts: list[str], how: How) -> Regions:
    return _coco(parts, how, "stored")


STRATEGIES: dict[str, tuple[Callable[[list[str], How], Regions], int, str]] = {
    "grid": (_grid, 1, "grid:L"),
    "sliding": (_sliding, 2, "sliding:L[:stride]"),
    "selective": (_selective, 2, "selective[:top[:side]]"),
    "grounding_dino": (_grounding_dino, MANY, "grounding_dino:top:prompt:CHECKPOINT"),
    "boxes": (_boxes, MANY, "boxes:FILE.json"),
    "coco": (_coco, 2, "coco:FILE.json[:RESULTS.json]"),
    "coco_stored": (_coco_stored, 2, "coco_stored:FILE.json[:RESULTS.json]"),
}
"""Name → maker, the most parts behind the name, usage."""

USAGE = ", ".join(usage for _, _, usage in STRATEGIES.values())


def parse_regions(
    spec: str, *, most: int | None = MOST_REGIONS, on_error: OnError = "raise"
) -> Regions:
    """Return the strategy that ``spec`` names.

    - ``grid:L``: Patchify's pyramid;
    - ``sliding:L[:stride]``: overlapping windows;
    - ``selective[:top[:side]]``: selective search;
    - ``grounding_dino:top:prompt:CHECKPOINT``: the checkpoint is a folder, or a hub name;
    - ``boxes:FILE.json``: image id → relative boxes;
    - ``coco:FILE.json[:RESULTS.json]``: a detector's boxes in the COCO layout;
    - ``coco_stored:FILE.json[:RESULTS.json]``: the same, in the pixels of pictures as they are
      stored, before their EXIF orientation is applied.

    Args:
        spec: as above.
        most: the most regions of an image; None: no limit.
        on_error: ``skip`` leaves malformed boxes of files out, counted and logged.

    Raises:
        RegionError: unknown name (with near matches), settings that are not numbers, or regions
            without end.
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
    make, longest, usage = STRATEGIES[name]
    if len(parts) > longest:
        raise RegionError(f"region strategy {spec!r} has parts too many; use {usage}")
    try:
        return make(parts, How(most, on_error))
    except PatchRerankError:
        raise
    except (ValueError, IndexError, OverflowError) as error:
        raise RegionError(f"region strategy {spec!r} is malformed; use {usage}") from error
