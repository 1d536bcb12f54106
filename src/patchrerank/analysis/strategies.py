"""Region strategies side by side: how good, how many boxes, bytes and seconds an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.analysis.evaluation import evaluate
from patchrerank.analysis.region_costs import seconds_per_image
from patchrerank.analysis.settings import EvaluationSettings
from patchrerank.encoders import OnePassEncoder, load_one_pass
from patchrerank.errors import EncoderError, PatchRerankError
from patchrerank.gallery import BuildOptions
from patchrerank.regions import GridPyramid, Regions, SlidingWindows, parse_regions

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import Encoder

STRATEGIES = (
    *(f"grid:{level}" for level in (0, 1, 2, 3)),
    *(f"sliding:{level}:0.5" for level in (1, 2, 3)),
    *(f"sliding:{level}:0.25" for level in (1, 2, 3)),
    "selective:20",
)
POOLED = ("grid:3", "sliding:3:0.5")
"""What is pooled from one pass."""


@dataclass(frozen=True)
class StrategyRow:
    """One strategy, measured.

    Attributes:
        regions: as a gallery records it.
        metrics: percent, as in :class:`patchrerank.analysis.Measured`.
        boxes_per_image: mean.
        bytes_per_image: of patch vectors.
        seconds_per_image: median of turns on this machine; NaN if it was not measured.
    """

    regions: str
    metrics: dict[str, float]
    boxes_per_image: float
    bytes_per_image: float
    seconds_per_image: float

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able record."""
        return asdict(self)


@dataclass(frozen=True)
class StrategySettings:
    """What is compared.

    Attributes:
        cache: galleries are kept there.
        strategies: texts for :func:`patchrerank.regions.parse_regions`.
        views: one-pass views, see :class:`patchrerank.encoders.OnePass`; None: two that suit the
            encoder's input size; empty: none.
        rounds: of eight images, for the seconds; 0: they are not measured.
        build: how galleries are built.
    """

    cache: Path
    strategies: Sequence[str] = STRATEGIES
    views: Sequence[str] | None = None
    rounds: int = 5
    build: BuildOptions = field(default_factory=BuildOptions)


Way = tuple["Encoder", Regions]


def evaluate_strategies(
    dataset: Dataset, encoder: Encoder, settings: StrategySettings
) -> tuple[list[StrategyRow], list[str]]:
    """Evaluate Patchify alone on the full list over each strategy's regions.

    Returns:
        The rows, in the order asked for, and one sentence for each strategy that could not be
        used here.
    """
    ways, left_out = _ways(encoder, settings)
    figures = {}
    for name in sorted(ways, key=_windows, reverse=True):  # the widest first: others are copied
        maker, regions = ways[name]
        how = EvaluationSettings(regions, build=settings.build)
        run = evaluate(dataset, maker, how, settings.cache)
        boxes = run.gallery.manifest.patches / max(1, len(run.gallery))
        figures[name] = run.measured, boxes
    seconds = _seconds(dataset, ways, settings.rounds)
    rows = [
        StrategyRow(
            name,
            figures[name][0].metrics,
            figures[name][1],
            figures[name][0].bytes_per_image["patches"],
            seconds[name],
        )
        for name in ways
    ]
    return rows, left_out


def default_views(encoder: Encoder) -> list[str]:
    """Return one-pass views for an encoder's input side s: one at 2 s; s, and 2 × 2 tiles."""
    side = encoder.preprocessing.image_size[1]
    return [f"{2 * side}:p2", f"{side},{round(9 * side / 7)}x2:p2"]


def _ways(encoder: Encoder, settings: StrategySettings) -> tuple[dict[str, Way], list[str]]:
    ways: dict[str, Way] = {}
    left_out = []
    for spec in settings.strategies:
        try:
            regions = parse_regions(spec)
        except PatchRerankError as error:
            left_out.append(f"{spec} is left out: {error}")
        else:
            ways[encoder.recorded_regions(regions.spec)] = (encoder, regions)
    for pooled in _pooled(encoder, settings, left_out):
        for spec in POOLED:
            ways[pooled.recorded_regions(spec)] = (pooled, parse_regions(spec))
    return ways, left_out


def _pooled(
    encoder: Encoder, settings: StrategySettings, left_out: list[str]
) -> list[OnePassEncoder]:
    found = []
    for view in default_views(encoder) if settings.views is None else settings.views:
        try:
            found.append(load_one_pass(encoder, view))
        except EncoderError as error:
            left_out.append(f"one-pass:{view} is left out: {error}")
    return found


def _windows(name: str) -> int:
    """Return how many boxes a strategy has, for those that follow from an image's size."""
    regions = parse_regions(name.partition(" ")[0])
    if isinstance(regions, GridPyramid | SlidingWindows):
        return len(regions.boxes("", 1024, 1024))
    return 0


def _seconds(dataset: Dataset, ways: dict[str, Way], rounds: int) -> dict[str, float]:
    if rounds < 1:
        return dict.fromkeys(ways, float("nan"))
    images = [(image.id, image.file) for image in dataset.images]
    return seconds_per_image(images, ways, rounds=rounds)
