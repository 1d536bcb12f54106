"""What became of patch vectors that were stored another way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from patchrerank.gallery.compress_learning import SAMPLE_ROWS, sample_of, whitened
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.region_vectors import live_patches
from patchrerank.gallery.stores import PATCH_ARRAYS


@dataclass(frozen=True)
class Compression:
    """What became of the patch vectors.

    Attributes:
        bytes_before: of all patch arrays.
        bytes_after: likewise.
        mean_cosine: between a vector and what is left of it, over a sample; 1 is lossless.
            After whitening it compares with the whitened vector.
        worst_cosine: the smallest of the sample.
    """

    bytes_before: int
    bytes_after: int
    mean_cosine: float
    worst_cosine: float


def compare(before: Gallery, after: Gallery, seed: int) -> Compression:
    """Compare a gallery with its copy, over a sample of patches that the seed draws."""
    whitening = after.whitening if not before.manifest.whitened else None
    rows = sample_of(range(after.manifest.patches), SAMPLE_ROWS, seed)
    there = np.asarray(live_patches(before), dtype=np.int64)
    first = whitened(before.patch_store.decode(there[rows]), whitening)
    second = after.patch_store.decode(rows)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(axis=1) / np.maximum(norms, 1e-12)
    sizes = [
        sum(size for name, size in one.nbytes().items() if name in PATCH_ARRAYS)
        for one in (before, after)
    ]
    mean, worst = (float(f(cosines)) if len(rows) else 1.0 for f in (np.mean, np.min))
    return Compression(sizes[0], sizes[1], mean, worst)
