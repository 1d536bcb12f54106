"""Sizes of the pictures whose vectors are imported."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError
from patchrerank.gallery.import_ids import PackedIds
from patchrerank.numpy_files import read_npy

Sizes = npt.NDArray[np.int32]

MOST_PIXELS = 1 << 30
"""Of a side."""


def sizes_of(sizes: Any, ids: PackedIds) -> Sizes | None:
    """Return width and height of each picture in pixels, int32 ``(N, 2)``; None: not known.

    Raises:
        GalleryError: another number or shape, no whole numbers, or a side under one pixel.
    """
    if sizes is None:
        return None
    read = isinstance(sizes, str | os.PathLike)
    given = np.asarray(read_npy(sizes, GalleryError) if read else sizes)
    if given.dtype.kind not in "iu" or given.shape != (len(ids), 2):
        raise GalleryError(
            f"sizes: {given.dtype} {given.shape}; use whole numbers ({len(ids)}, 2), width and "
            "height of each picture in pixels, as it stands upright"
        )
    good = ((given >= 1) & (given <= MOST_PIXELS)).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise GalleryError(
            f"sizes: {ids.named(row)} (row {row}) is {given[row].tolist()} pixels; leave all "
            "sizes out if some are not known"
        )
    return given.astype(np.int32)
