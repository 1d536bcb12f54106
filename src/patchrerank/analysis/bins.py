"""Metrics by object size and by distance from the centre, in bins of equal count.

Source: Patchify (WACV 2026), supplement: positives are sorted, and cut into five bins of equal
count; a query with no positive in a bin is left out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.analysis.measured import Run
from patchrerank.analysis.measuring import dataset_convention, measure
from patchrerank.analysis.relevance import Relevance, ranked_images
from patchrerank.boxes import area
from patchrerank.datasets import Dataset, DatasetImage, Instance
from patchrerank.errors import SettingError
from patchrerank.metrics.lists import Doubles
from patchrerank.types import Rows

if TYPE_CHECKING:
    from patchrerank.metrics import APConvention

BINS = 5
CENTRE = np.array([0.5, 0.5], dtype=np.float32)

Property = Callable[[DatasetImage, Instance], float]
"""A number for one object in one image; NaN where it is unknown."""


def object_size(image: DatasetImage, instance: Instance) -> float:
    """Return the share of the image that the object covers, in (0, 1]; NaN if unknown.

    As :func:`patchrerank.analysis.relevance.positive_areas`: what the data set says, else its
    largest box. Where boxes of one image show different objects, the largest of this one's.
    """
    if image.box_instances is not None and instance in image.box_instances:
        return float(area(image.boxes_of(instance)).max())
    return float("nan") if image.area is None else float(image.area)


def centre_distance(image: DatasetImage, instance: Instance) -> float:
    """Return the L2 distance of the centre of the object's largest box from the image's.

    In relative coordinates: 0 to 0.71; NaN without a box.
    """
    boxes = image.boxes_of(instance)
    if not len(boxes):
        return float("nan")
    largest = boxes[int(area(boxes).argmax())]
    middle = (largest[:2] + largest[2:]) / 2
    return float(np.linalg.norm(middle - CENTRE))


@dataclass(frozen=True)
class Bin:
    """One bin.

    Attributes:
        low: the smallest number in it; NaN where the bin is empty.
        high: the largest.
        positives: images counted in it, each once for each object asked for.
        kept: for each query the ascending rows of its positives in this bin.
    """

    low: float
    high: float
    positives: int
    kept: tuple[Rows, ...]

    @property
    def queries(self) -> int:
        """Number of queries that have a positive in it."""
        return sum(len(rows) > 0 for rows in self.kept)


@dataclass(frozen=True)
class BinMeasured:
    """The figures of one run in one bin: metrics in percent, NaN where no query counts."""

    low: float
    high: float
    positives: int
    queries: int
    metrics: dict[str, float]


def equal_bins(dataset: Dataset, of: Property, bins: int = BINS) -> list[Bin]:
    """Sort the positives by a number and cut them into bins of equal count.

    A positive is an image of an object that is asked for, whatever the number of queries that
    ask; images that are positive of nothing are not counted. Where the count does not divide,
    the first bins hold one more. Equal numbers keep the data set's order, and may be parted.
    Positives whose number is unknown fall into no bin.

    Raises:
        SettingError: fewer than one bin.
    """
    if bins < 1:
        raise SettingError(f"bins must be at least 1, got {bins}")
    pairs = _positive_pairs(dataset)
    found = [of(dataset.images[row], dataset.objects[shown]) for row, shown in pairs]
    values = np.array(found, dtype=np.float64)
    order = np.argsort(values, kind="stable")[: int(np.isfinite(values).sum())]
    return [
        _bin(dataset, values[part], [pairs[number] for number in part])
        for part in np.array_split(order, bins)
    ]


def measure_bins(run: Run, dataset: Dataset, bins: Sequence[Bin]) -> list[BinMeasured]:
    """Measure a run in each bin: its other positives count as junk there.

    Args:
        run: from :func:`patchrerank.analysis.evaluate`, of this data set.
        dataset: the data set.
        bins: from :func:`equal_bins`.
    """
    images = ranked_images(run.ranking, run.gallery, dataset)
    convention: APConvention = dataset_convention(dataset)
    return [
        BinMeasured(
            part.low,
            part.high,
            part.positives,
            part.queries,
            measure(restrict(run.relevance, images, part.kept), run.ranking, convention)[0],
        )
        for part in bins
    ]


def restrict(relevance: Relevance, images: Rows, kept: Sequence[Rows]) -> Relevance:
    """Keep only some positives of each query; the others become junk.

    Args:
        relevance: ``(Q, R)``.
        images: int64 ``(Q, R)``, ranked images as rows of the data set.
        kept: for each query the rows of the positives that stay.
    """
    stays = np.stack([np.isin(row, rows) for row, rows in zip(images, kept, strict=True)])
    relevant = relevance.relevant & stays
    return replace(
        relevance,
        relevant=relevant,
        junk=relevance.junk | (relevance.relevant & ~relevant),
        n_positives=np.array([len(rows) for rows in kept], dtype=np.int64),
    )


def _positive_pairs(dataset: Dataset) -> list[tuple[int, int]]:
    """Return each (row of an image, number of an object) that some query holds for a positive."""
    pairs = {
        (row, int(shown))
        for rows, shown in zip(dataset.positives, dataset.query_objects, strict=True)
        for row in rows.tolist()
    }
    return sorted(pairs)


def _bin(dataset: Dataset, values: Doubles, pairs: Sequence[tuple[int, int]]) -> Bin:
    inside = set(pairs)
    kept = tuple(
        np.array([row for row in rows.tolist() if (row, int(shown)) in inside], dtype=np.int64)
        for rows, shown in zip(dataset.positives, dataset.query_objects, strict=True)
    )
    low, high = (float(values[0]), float(values[-1])) if len(values) else (np.nan, np.nan)
    return Bin(low, high, len(pairs), kept)
