"""How many bytes a gallery takes, from its numbers alone, and which patches belong to a level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from patchrerank.errors import GalleryError, SettingError, near_matches, shown
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.stores import RABITQ, is_store, split_store
from patchrerank.types import Rows

IVF_LIST_BYTES = 8
"""faiss writes one 64-bit length for each inverted list."""
LARGEST = 1 << 53


@dataclass(frozen=True)
class Storage:
    """Bytes of patch vectors.

    Attributes:
        vectors: number of patch vectors.
        raw: bytes as float32.
        stored: bytes as they are stored, all tables included.
    """

    vectors: int
    raw: int
    stored: int

    @property
    def ratio(self) -> float:
        """How many times smaller than float32."""
        return self.raw / self.stored if self.stored else float("nan")


def patches_at(level: int) -> int:
    """Return the patches an image has at grid level L: 1, 5, 14, 30, …"""
    if level < 0:
        raise SettingError(f"level must be at least 0, got {level}")
    side = level + 1
    return side * (side + 1) * (2 * side + 1) // 6


def storage_of(
    vectors: int, dim: int, store: str = "float32", *, m: int = 64, nbits: int = 8,
    nlist: int = 4096,
) -> Storage:  # fmt: skip
    """Return the bytes of ``vectors`` patch vectors of ``dim`` dimensions.

    Args:
        vectors: images × patches.
        dim: d.
        store: ``float32``, ``float16``, ``int8`` (one float32 scale a row), ``pq`` (packed codes,
            and ``2 ** nbits`` centroids a part), ``rabitq1`` to ``rabitq4`` (so many bits a
            dimension, and one float32 factor a row), codes and finer rows beside them as in
            ``rabitq2+int8``, or ``ivfpq`` (a faiss ``IVFn,PQm`` file:
            coarse centroids, codebooks, code and 64-bit id of each vector, list lengths).
        m: sub-quantisers of pq and ivfpq; must divide ``dim``.
        nbits: bits of each sub-code.
        nlist: inverted lists of ivfpq.

    Raises:
        SettingError: unknown store, or ``m`` does not divide ``dim``.
    """
    codes, exact = split_store(store)
    if exact and is_store(store):
        both = [storage_of(vectors, dim, one, m=m, nbits=nbits) for one in (codes, exact)]
        return Storage(vectors, both[0].raw, sum(one.stored for one in both))
    if store in ("pq", "ivfpq") and (m < 1 or dim % m):
        raise SettingError(f"m = {m} does not divide the {dim} dimensions")
    small = max(vectors, dim, nlist) < LARGEST
    if vectors < 0 or dim < 1 or nlist < 1 or not 1 <= nbits <= 16 or not small:
        raise SettingError(
            f"{shown(vectors)} vectors of {shown(dim)} dimensions in {shown(nlist)} lists with "
            f"{shown(nbits)} bits make no store; numbers must be positive, nbits at most 16, all "
            "others below 2^53"
        )
    code = (m * nbits + 7) // 8
    codebooks = 4 * dim * (1 << nbits)
    sizes = {
        "float32": 4 * vectors * dim,
        "float16": 2 * vectors * dim,
        "int8": vectors * (dim + 4),
        "pq": vectors * code + codebooks,
        **{name: vectors * (-(-dim // 8) * bits + 4) for name, bits in RABITQ.items()},
        "ivfpq": 4 * nlist * dim + codebooks + vectors * (code + 8) + IVF_LIST_BYTES * nlist,
    }
    if store not in sizes:
        raise SettingError(f"store {store!r} is unknown{near_matches(store, sizes)}")
    return Storage(vectors, 4 * vectors * dim, sizes[store])


def training_rows(gallery: Gallery, level: int) -> Rows:
    """Return the rows of the patches that a grid of ``level`` would have.

    Raises:
        GalleryError: the gallery's regions are not a grid of at least that level.
    """
    name, _, own = gallery.manifest.regions.partition(" ")[0].partition(":")
    if name != "grid" or int(own) < level:
        raise GalleryError(
            f"{gallery.folder}: holds {gallery.manifest.regions}, so there are no L{level} patches "
            "to train on; use a level of its grid, boxes, or a file of vectors"
        )
    starts = gallery.live[:, None] * patches_at(int(own))
    return (starts + np.arange(patches_at(level))).reshape(-1)
