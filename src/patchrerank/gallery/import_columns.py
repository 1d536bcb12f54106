"""The vectors of an import, read and checked block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import Array
from patchrerank.gallery.import_checks import VectorChecks
from patchrerank.gallery.import_ids import PackedIds
from patchrerank.gallery.row_sources import RowSource
from patchrerank.gallery.stores import FLOATS, store_columns
from patchrerank.types import Rows


def dim_of(whole: RowSource, local: RowSource, images: int) -> int:
    """Return the dimensions of all vectors.

    Raises:
        GalleryError: they differ, or an array is none of vectors.
    """
    for source, shapes in ((whole, (2,)), (local, (2, 3))):
        if source.dtype.kind != "f" or source.dtype.itemsize > 8:
            raise GalleryError(
                f"{source.name}: holds {source.dtype}; vectors are float16, float32 or float64"
            )
        if len(source.shape) not in shapes or not source.shape[-1]:
            use = "(N, d)" if source is whole else "(N, P, d), or (T, d) with counts"
            raise GalleryError(f"{source.name}: has the shape {source.shape}; use {use}")
    if len(whole) != images:
        raise GalleryError(f"{whole.name}: {len(whole)} vectors, but there are {images} ids")
    if whole.shape[-1] != local.shape[-1]:
        raise GalleryError(
            f"{whole.name}: {whole.shape[-1]} dimensions, but {local.name} has {local.shape[-1]}; "
            "a query is compared with both"
        )
    return whole.shape[-1]


def vector_columns(
    whole: RowSource,
    patches: RowSource,
    ends: Rows,
    packed: PackedIds,
    store: str,
    *,
    normalise: bool,
    progress: bool,
) -> Iterator[dict[str, Array]]:
    """Yield what is appended to the arrays of vectors, block by block."""
    total = len(whole) + int(ends[-1])
    with tqdm(total=total, unit="vector", desc="import", disable=not progress) as bar:
        check = VectorChecks(whole.name, packed, np.arange(1, len(packed) + 1), normalise)
        for block, first in _numbered(whole.blocks()):
            yield {"globals": check.checked(block, first)}
            bar.update(len(block))
        check = VectorChecks(patches.name, packed, ends, normalise)
        for block, first in _numbered(patches.blocks(np.diff(ends, prepend=0))):
            vectors = check.checked(block, first)
            plain = vectors if store in FLOATS else np.asarray(vectors, dtype=np.float32)
            yield store_columns(store, plain, None)
            bar.update(len(block))


def _numbered(blocks: Iterator[Any]) -> Iterator[tuple[Any, int]]:
    """Yield each block with the number of its first row."""
    first = 0
    for block in blocks:
        yield block, first
        first += len(block)
