"""Whether the vectors of somebody's index are those of a gallery's images: some are looked at."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError, shown
from patchrerank.faiss_vectors import vectors_of
from patchrerank.gallery import Gallery
from patchrerank.types import EMPTY, Floats, Rows

SAMPLE = 256
"""Vectors that are looked at, spread over the index."""
LAST = 32
"""Of these, the last ones of the index."""
UNIT = 0.01
"""By how much the length of a vector may differ from 1."""
ALIKE = 0.5
"""Cosine of an index's vector and the gallery's of the same image, at least."""
SAME = 0.98
"""The same, where both were made by the same encoder of the same picture."""
NEAR = 0.05
"""By how much the own image of a vector decoded from codes may be less alike than another."""
RUN = 8
"""Neighbours in the sample, most of which are others only where rows have moved."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Sample:
    """Some vectors of an index, and the gallery's of the same images.

    Attributes:
        rows: int64 ``(n,)``, in the gallery.
        labels: int64 ``(n,)``, rising where labels are rows.
        theirs: float32 ``(n, d)``.
        ours: float32 ``(n, d)``.
    """

    rows: Rows
    labels: Rows
    theirs: Floats
    ours: Floats

    @property
    def cosines(self) -> Floats:
        """float32 ``(n,)``, of each with its own image."""
        return np.asarray((self.ours * self.theirs).sum(axis=1), dtype=np.float32)

    @property
    def of_this_gallery(self) -> bool:
        """Whether one of the index's is one of the gallery's, be it of another image."""
        return bool((self.theirs @ self.ours.T).max() >= SAME)

    def strange(self, *, exact: bool) -> npt.NDArray[np.bool_]:
        """Return which are of other images than their rows, bool ``(n,)``.

        Args:
            exact: vectors are as they were added; otherwise one is strange where the gallery's
                vector of another image of the sample is clearly nearer than its own, and so are
                most of its neighbours.
        """
        own = self.cosines
        if exact:
            return np.asarray(own < SAME)
        wrong = (self.theirs @ self.ours.T).max(axis=1) > own + NEAR
        runs = np.convolve(wrong, np.ones(RUN), "same")
        return np.asarray(wrong & (runs > RUN / 2))


def check_sample(
    gallery: Gallery, index: Any, path: Path, rows_of: Callable[[Rows], Rows], *, by_row: bool
) -> None:
    """Look at some vectors, where they can be had: spread over an index, and its last ones.

    Args:
        gallery: whose images they are said to be of.
        index: the ``faiss.Index``.
        path: its file, for messages.
        rows_of: gives the row of each label.
        by_row: labels are rows, of which other images have come to stand in some if the gallery
            was compacted, or built anew, since the index was.

    Raises:
        GalleryError: one has not unit length; or, with ``by_row``, some are of other images.
    """
    try:
        held = vectors_of(index)
        places = _spread(len(held))
        labels, theirs = held.labels()[places], held.take(places)
    except GalleryError:
        return
    lengths = np.linalg.norm(theirs, axis=1)
    wrong = ~(np.abs(lengths - 1) <= UNIT)
    if held.exact and wrong.any():
        raise GalleryError(not_unit(path, f"one has the length {lengths[wrong][0]:.4g}"))
    rows = rows_of(labels)
    known = np.flatnonzero(rows != EMPTY)
    known = known[np.argsort(labels[known], kind="stable")]
    rows, ours = rows[known], np.asarray(gallery.global_vectors[rows[known]])
    sample = _Sample(rows, labels[known], theirs[known], ours)
    strange = sample.strange(exact=held.exact)
    if not len(rows):
        return
    middle = float(np.median(sample.cosines))
    if by_row and strange.any() and (not held.exact or sample.of_this_gallery):
        _refuse(gallery, path, sample, strange)
    if held.exact and (middle < ALIKE or (strange.any() and middle >= SAME)):
        _warn(path, gallery, sample, strange, middle)


def _spread(total: int) -> Rows:
    spread = np.linspace(0, max(0, total - 1), min(total, SAMPLE - LAST)).round()
    last = np.arange(max(0, total - LAST), total)
    return np.unique(np.concatenate([spread.astype(np.int64), last]))


def _refuse(gallery: Gallery, path: Path, sample: _Sample, strange: npt.NDArray[np.bool_]) -> None:
    first = int(np.argmax(strange))
    row = int(sample.rows[first])
    raise GalleryError(
        f"{path}: is older than {gallery.folder}, or of another: {int(strange.sum())} of "
        f"{len(strange)} vectors that were looked at, the first of them number {row}, are not those"
        f" of the images in these rows ({shown(gallery.ids[row])}); write the index again of "
        "gallery.global_vectors, or say with ids= (--index-ids) which id each vector is of"
    )


def _warn(
    path: Path, gallery: Gallery, sample: _Sample, strange: npt.NDArray[np.bool_], middle: float
) -> None:
    if middle < ALIKE:
        logger.warning(
            "%s: its vectors are not those of the gallery's images (median cosine %.2f); are "
            "its ids in the order of the index, and was the encoder the same?", path, middle,
        )  # fmt: skip
        return
    row = int(sample.rows[int(np.argmax(strange))])
    logger.warning(
        "%s: %d of %d vectors that were looked at, such as that of %s, are not those that the "
        "gallery has of these images now; was it written before they were replaced?",
        path, int(strange.sum()), len(strange), shown(gallery.ids[row]),
    )  # fmt: skip


def not_unit(path: Path, sign: str) -> str:
    """Return what is said of vectors that have not unit length."""
    return (
        f"{path}: its vectors are not of unit length ({sign}); build it again of vectors divided "
        "by their lengths (faiss.normalize_L2)"
    )
