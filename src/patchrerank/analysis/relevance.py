"""What a ranking got right, and how well its boxes fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import iou
from patchrerank.datasets import Dataset
from patchrerank.errors import DatasetError, near_matches
from patchrerank.gallery import Gallery
from patchrerank.types import EMPTY, Floats, Ranking, Rows

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Relevance:
    """A ranking seen through a data set's ground truth; ``(Q, R)``, best first.

    Attributes:
        relevant: the candidate shows the query's object.
        junk: the candidate is to be removed before ranks are counted.
        iou: float32, best overlap of the predicted box with a true one; 0 where not relevant
            or without a box.
        area: float32, share of the image that the true box covers; NaN where not relevant or
            unknown.
        n_positives: int64 ``(Q,)``, positives in the whole data set, listed or not.
        valid: the slot is not empty.
    """

    relevant: Flags
    junk: Flags
    iou: Floats
    area: Floats
    n_positives: Rows
    valid: Flags

    def within(self, low: float, high: float, areas: list[Floats]) -> Relevance:
        """Keep only positives whose area lies in ``[low, high)``; the others become junk.

        Args:
            low: share of the image.
            high: likewise.
            areas: for each query the areas of all its positives, listed or not.
        """
        kept = self.relevant & (self.area >= low) & (self.area < high)
        counts = [int(((area >= low) & (area < high)).sum()) for area in areas]
        return replace(
            self,
            relevant=kept,
            junk=self.junk | (self.relevant & ~kept),
            n_positives=np.array(counts, dtype=np.int64),
        )


def relevance_of(ranking: Ranking, gallery: Gallery, dataset: Dataset) -> Relevance:
    """Compare a ranking of the data set's queries, in order, with its ground truth.

    Raises:
        DatasetError: the gallery holds images that the data set does not name.
    """
    images = ranked_images(ranking, gallery, dataset)
    shape = ranking.rows.shape
    relevant = np.zeros(shape, dtype=bool)
    junk = np.zeros(shape, dtype=bool)
    overlap = np.zeros(shape, dtype=np.float32)
    area = np.full(shape, np.nan, dtype=np.float32)
    for query, positives in enumerate(dataset.positives):
        relevant[query] = np.isin(images[query], positives)
        if len(dataset.junk[query]):
            junk[query] = np.isin(images[query], dataset.junk[query])
        for slot in np.flatnonzero(relevant[query]):
            image = dataset.images[images[query, slot]]
            boxes = image.boxes_of(dataset.queries[query].instance)
            if len(boxes):
                overlap[query, slot] = iou(ranking.boxes[query, slot], boxes).max()
            area[query, slot] = np.nan if image.area is None else image.area
    counts = np.array([len(rows) for rows in dataset.positives], dtype=np.int64)
    valid = ranking.rows != EMPTY
    return Relevance(relevant, junk, overlap, area, counts, valid)


def ranked_images(ranking: Ranking, gallery: Gallery, dataset: Dataset) -> Rows:
    """Return the ranked images as rows of the data set, int64 ``(Q, R)``; empty slots stay -1.

    Raises:
        DatasetError: the gallery holds images that the data set does not name.
    """
    found = _image_of_row(gallery, dataset)[ranking.rows]
    return np.where(ranking.rows == EMPTY, EMPTY, found)


def positive_areas(dataset: Dataset) -> list[Floats]:
    """Return for each query the areas (shares of the image, NaN = unknown) of its positives."""
    known = np.array(
        [np.nan if image.area is None else image.area for image in dataset.images],
        dtype=np.float32,
    )
    return [known[rows] for rows in dataset.positives]


def _image_of_row(gallery: Gallery, dataset: Dataset) -> Rows:
    number = {image.id: position for position, image in enumerate(dataset.images)}
    unknown = [name for name in gallery.ids.living() if name not in number]
    if unknown:
        raise DatasetError(
            f"{dataset.root}: {len(unknown)} images of the gallery {gallery.folder} are not in "
            f"this data set, for example {unknown[0]!r}{near_matches(unknown[0], number)}"
        )
    found = np.full(len(gallery), EMPTY, dtype=np.int64)
    found[gallery.live] = [number[name] for name in gallery.ids.living()]
    return found
