"""Vectors of regions; a picture whose vectors have no direction is named, or left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.boxes import Floats, in_region
from patchrerank.errors import VectorError, whose_vectors
from patchrerank.gallery.image_rows import ImageRows
from patchrerank.gallery.removed_rows import items_of
from patchrerank.types import Rows

if TYPE_CHECKING:
    from patchrerank.gallery.gallery import Gallery
    from patchrerank.gallery.preparing import PreparedImage

LEAVE_OUT = (
    "; leave such pictures out (on_error='skip', --on-error skip), or choose another encoder, "
    "image size or regions"
)
STORED = "; index its picture again, or leave it out"

Encode = Callable[[Iterable[Any]], Floats]


def chunk_rows(
    prepared: list[PreparedImage], cuts: Iterable[Any], encode: Encode, *, skip: bool
) -> tuple[list[ImageRows], list[tuple[str, str]]]:
    """Encode the regions of a chunk of images.

    Args:
        prepared: the images; those that are left out are taken from it.
        cuts: theirs, which may still be in the making and then fill ``prepared``.
        encode: makes vectors ``(N, d)`` of all cuts.
        skip: leave out an image that has a vector without a direction, and encode the others
            again.

    Returns:
        What is written for each image left in ``prepared``, and the ids that were left out with
        reasons.

    Raises:
        VectorError: a vector is all zeros, NaN or infinite, unless ``skip``; names the image and
            the region.
    """
    vectors, skipped = _encoded(prepared, cuts, encode, skip=skip)
    rows, start = [], 0
    for item in prepared:
        end = start + item.count
        patches, whole = vectors[end - len(item.boxes) : end], vectors[start]
        rows.append(ImageRows(item.image_id, item.size, item.boxes, whole, patches, item.stamp))
        start = end
    return rows, skipped


def _encoded(
    prepared: list[PreparedImage], cuts: Iterable[Any], encode: Encode, *, skip: bool
) -> tuple[Floats, list[tuple[str, str]]]:
    skipped: list[tuple[str, str]] = []
    while True:
        try:
            return encode(cuts), skipped
        except VectorError as error:
            for _ in cuts:  # those that were still in the making
                pass
            if not skip:
                raise error.of(lambda row: _region(prepared, row), LEAVE_OUT) from error
            skipped += _take_out(prepared, error)
        cuts = [item.cuts for item in prepared]


def _take_out(prepared: list[PreparedImage], error: VectorError) -> list[tuple[str, str]]:
    """Take the images of an error's rows out; return their ids with reasons."""
    owners = np.repeat(np.arange(len(prepared)), [item.count for item in prepared])
    rows: dict[int, list[int]] = {}
    for row in error.rows:
        rows.setdefault(int(owners[row]), []).append(row)
    reasons = {
        owner: str(error.of(lambda row: _region(prepared, row), rows=own))
        for owner, own in rows.items()
    }
    taken = [(str(prepared[owner].image_id), reason) for owner, reason in reasons.items()]
    prepared[:] = [item for number, item in enumerate(prepared) if number not in rows]
    return taken


def _region(prepared: Sequence[PreparedImage], row: int) -> str:
    """Return how messages name the image and region of a row of vectors."""
    for item in prepared:
        if row < item.count:
            return in_region(str(item.image_id), item.regions[row])
        row -= item.count
    return f"row {row}"


def live_patches(gallery: Gallery) -> Rows | range:
    """Return the numbers of all patches of images that are there, rising."""
    if gallery.live_count == len(gallery):
        return range(gallery.manifest.patches)
    return items_of(np.asarray(gallery.patch_ends), gallery.live)


def decoded_patches(gallery: Gallery, rows: Rows) -> Floats:
    """Return patch vectors as float32 ``(len(rows), d)``, whatever the store.

    Raises:
        VectorError: one is NaN or infinite, or all zeros; names its image and region.
    """
    from patchrerank.encoders.normalise import check_directions

    vectors = gallery.patch_store.decode(rows)
    with named_patches(gallery, rows, STORED):
        check_directions(vectors, f"{gallery.folder}: holds")
    return vectors


def named_patches(gallery: Gallery, rows: Rows, remedy: str) -> AbstractContextManager[None]:
    """Let a :class:`VectorError` about the vectors of these patches name image and region."""

    def whose(row: int) -> str:
        patch = int(rows[row])
        image = int(np.searchsorted(gallery.patch_ends, patch, side="right"))
        return in_region(gallery.ids[image], np.asarray(gallery.boxes[patch]))

    return whose_vectors(whose, remedy)
