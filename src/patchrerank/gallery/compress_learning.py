"""How a gallery's vectors are to be stored, and what has to be learned of them for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.boxes import Floats
from patchrerank.errors import SettingError
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.region_vectors import decoded_patches, live_patches
from patchrerank.gallery.stores import check_store, pq_train, split_store
from patchrerank.gallery.whiten_choice import Whiten, check_whiten
from patchrerank.gallery.whitening import Learned, find_whitening
from patchrerank.types import Rows

if TYPE_CHECKING:
    from patchrerank.encoders import Whitening

SAMPLE_ROWS = 10_000
LARGEST_SEED = 1 << 30


@dataclass(frozen=True)
class CompressOptions:
    """How patch vectors are stored.

    Attributes:
        store: ``float32``, ``float16``, ``int8``, ``pq``, or ``rabitq1`` to ``rabitq4``; the last
            five also with finer rows beside them, ``+float16`` or ``+int8``.
        whiten: dimensions to keep by PCA-whitening learned on the gallery's patches, ``auto``, or
            a whitened gallery whose whitening is taken; None for none. Global vectors are
            whitened too, and queries from then on.
        m: parts of a product quantiser; must divide the dimensions.
        nbits: bits of each part, 1 to 8.
        train: float32 ``(n, d)`` vectors the quantiser is trained on; None takes all patches.
        train_on: how the record names them.
        seed: of sampling and clustering.
        progress: show a progress bar.
    """

    store: str = "int8"
    whiten: Whiten | None = None
    m: int = 64
    nbits: int = 8
    train: Floats | None = None
    train_on: str = "all patches"
    seed: int = 0
    progress: bool = True

    def __post_init__(self) -> None:
        check_store(self.store)
        if self.whiten is not None:
            check_whiten(self.whiten)
        if not 0 <= self.seed < LARGEST_SEED:
            raise SettingError(f"seed must lie in 0 … {LARGEST_SEED - 1}, got {self.seed}")


@dataclass(frozen=True)
class Trained:
    """What all patches are rewritten with.

    Attributes:
        found: the whitening and how it was learned; None: they are not whitened, or were before.
        centroids: float32 ``(m, 2 ** nbits, d / m)`` of a product quantiser; None for other stores.
    """

    found: Learned | None
    centroids: Floats | None

    @property
    def whitening(self) -> Whitening | None:
        """What is applied to all vectors, if anything."""
        return None if self.found is None else self.found[0]


def train(gallery: Gallery, options: CompressOptions) -> Trained:
    """Learn whitening and quantiser, where they are asked for, on a gallery's patches.

    Raises:
        GalleryError: it is whitened already, or what it is to be whitened with is of no use.
        SettingError: too few training vectors, or impossible settings.
        VectorError: a vector is NaN, infinite or all zeros; names the image and the region.
    """
    found = (
        None if options.whiten is None else find_whitening(gallery, options.whiten, options.seed)
    )
    whitening = None if found is None else found[0]
    return Trained(found, _centroids(gallery, whitening, options))


def whitened(vectors: Floats, whitening: Whitening | None) -> Floats:
    """Return vectors as they are stored: whitened, where there is a whitening."""
    return vectors if whitening is None else whitening.apply(np.asarray(vectors))


def sample_of(numbers: Rows | range, most: int, seed: int) -> Rows:
    """Return up to ``most`` of some numbers, in their order."""
    if len(numbers) <= most:
        return np.asarray(numbers, dtype=np.int64)
    drawn = np.random.default_rng(seed).choice(len(numbers), most, replace=False)
    return np.asarray(numbers, dtype=np.int64)[np.sort(drawn)]


def _centroids(
    gallery: Gallery, whitening: Whitening | None, options: CompressOptions
) -> Floats | None:
    if split_store(options.store)[0] != "pq":
        return None
    train = options.train
    if train is None:
        rows = sample_of(live_patches(gallery), 20 * SAMPLE_ROWS, options.seed)
        train = decoded_patches(gallery, rows)
    return pq_train(whitened(train, whitening), options.m, options.nbits, options.seed)
