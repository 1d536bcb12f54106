"""The gallery of a data set: built once, found again by what it was made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.gallery import BuildOptions, Gallery, build_gallery
from patchrerank.gallery.manifest import MANIFEST
from patchrerank.regions import Regions

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import Encoder


def gallery_folder(cache: Path, dataset: Dataset, encoder: Encoder, regions: Regions) -> Path:
    """Return the folder below ``cache`` for this data set, encoder and region strategy."""
    key = f"{dataset.fingerprint}|{encoder.fingerprint}|{regions.spec}"
    readable = "".join(c if c.isalnum() else "-" for c in f"{encoder.spec}-{regions.spec}")[-60:]
    return cache / f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def dataset_gallery(
    dataset: Dataset, encoder: Encoder, regions: Regions, cache: Path, options: BuildOptions
) -> tuple[Gallery, bool]:
    """Open the data set's gallery below ``cache``, or build (or finish) it.

    Returns:
        The gallery, and whether it was there already.
    """
    folder = gallery_folder(cache, dataset, encoder, regions)
    if (folder / MANIFEST).is_file():
        return Gallery(folder), True
    return build_gallery(folder, _Pairs(dataset), encoder, regions, options), False


class _Pairs:
    """The data set's ``(id, file)`` pairs, with their number for the progress bar."""

    def __init__(self, dataset: Dataset) -> None:
        self._images = dataset.images

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        return iter((image.id, image.file) for image in self._images)
