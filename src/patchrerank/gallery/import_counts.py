"""How many patches each imported image has."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from patchrerank.errors import GalleryError, shown
from patchrerank.gallery.row_sources import RowSource
from patchrerank.numpy_files import read_npy
from patchrerank.types import Rows


def counts_of(images: int, patches: RowSource, counts: Any, name: str = "counts") -> Rows:
    """Return the patches of each image, int64 ``(N,)``.

    Args:
        images: N.
        patches: ``(N, P, d)`` or ``(T, d)``.
        counts: None: P each; a number: that many each; an array: of each image, or where the
            patches of each end. Of ``(N, P, d)`` the first so many of an image count.
        name: of counts, for messages.

    Raises:
        GalleryError: they do not add up to the patches.
    """
    if patches.shape[0] != images and len(patches.shape) == 3:
        raise GalleryError(f"{patches.name}: {patches.shape[0]} images, but there are {images} ids")
    if isinstance(counts, str | os.PathLike):
        counts = read_npy(counts, GalleryError)
    if counts is None:
        if len(patches.shape) == 2:
            raise GalleryError(
                f"{patches.name}: {patches.shape} vectors one behind the other need {name}, how "
                "many each image has"
            )
        return np.full(images, patches.shape[1], dtype=np.int64)
    given = np.asarray(counts)
    if given.dtype.kind not in "iu" or given.ndim > 1:
        raise GalleryError(
            f"{name}: {given.dtype} {given.shape}; use one whole number, or one for each image"
        )
    if given.ndim and len(given) != images:
        raise GalleryError(f"{name}: {len(given)} numbers for {images} images")
    if given.size and given.min() < 0:
        row = int(np.argmin(given))
        raise GalleryError(f"{name}: {given.reshape(-1)[row]} at position {row}; none is negative")
    every = np.broadcast_to(given, images).astype(np.int64)
    check = _padded if len(patches.shape) == 3 else _flat
    return check(every, patches, name)


def _padded(counts: Rows, patches: RowSource, name: str) -> Rows:
    most = patches.shape[1]
    if counts.max(initial=0) > most:
        row = int(np.argmax(counts))
        raise GalleryError(
            f"{name}: {counts[row]} at position {row}, but {patches.name} has {most} patches an "
            "image"
        )
    return counts


def _flat(counts: Rows, patches: RowSource, name: str) -> Rows:
    """Take counts, or ends: where both would fit, they say the same."""
    total = len(patches)
    if int(counts.sum()) == total:
        return counts
    sizes = np.diff(counts, prepend=0)
    if len(counts) and counts[-1] == total and (sizes >= 0).all():
        return sizes
    raise GalleryError(
        f"{name}: they add up to {shown(int(counts.sum()))} and end at {counts[-1]}, but "
        f"{patches.name} has {total} vectors"
    )
