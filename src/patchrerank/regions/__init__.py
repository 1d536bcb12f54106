"""Where to look: strategies that cut an image into regions."""

from patchrerank.regions.base import MOST_REGIONS, Regions
from patchrerank.regions.fixed_boxes import SIDEWAYS, UPRIGHT, FixedBoxes
from patchrerank.regions.grid_pyramid import GridPyramid
from patchrerank.regions.grounding_dino import GroundingDINO
from patchrerank.regions.parsing import parse_regions
from patchrerank.regions.proposals import Proposals, boxes_in
from patchrerank.regions.selective_search import SelectiveSearch
from patchrerank.regions.sliding_windows import SlidingWindows

__all__ = [
    "MOST_REGIONS",
    "SIDEWAYS",
    "UPRIGHT",
    "FixedBoxes",
    "GridPyramid",
    "GroundingDINO",
    "Proposals",
    "Regions",
    "SelectiveSearch",
    "SlidingWindows",
    "boxes_in",
    "parse_regions",
]
