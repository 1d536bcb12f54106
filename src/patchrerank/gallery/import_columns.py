"""The vectors of an import, read and checked block by block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import Array, ArrayFiles
from patchrerank.gallery.copied_rows import copied
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


@dataclass(frozen=True)
class VectorColumns:
    """The vectors of an import.

    Attributes:
        whole: global vectors.
        patches: patch vectors.
        ends: int64 ``(N,)``, where the patches of each image end.
        packed: the ids.
        store: of patch vectors.
        normalise: divide vectors by their norms.
        progress: show a progress bar.
    """

    whole: RowSource
    patches: RowSource
    ends: Rows
    packed: PackedIds
    store: str
    normalise: bool
    progress: bool

    @contextmanager
    def copied_to(self, files: ArrayFiles) -> Iterator[VectorColumns]:
        """Begin to copy those that are stored as they are; return them all, as they are read then.

        Args:
            files: that they are appended to.
        """
        total = len(self.packed), int(self.ends[-1])
        with ExitStack() as stack:
            whole, patches = self.whole, self.patches
            if not self.normalise:
                whole = stack.enter_context(copied(whole, "globals", files, total[0]))
            if not self.normalise and self.store in FLOATS:
                patches = stack.enter_context(copied(patches, "patches", files, total[1]))
            yield replace(self, whole=whole, patches=patches)

    def blocks(self) -> Iterator[dict[str, Array]]:
        """Yield what is appended to the arrays of vectors, block by block.

        Raises:
            GalleryError: a vector is none that a gallery holds, see :class:`VectorChecks`.
        """
        packed, total = self.packed, len(self.whole) + int(self.ends[-1])
        with tqdm(total=total, unit="vector", desc="import", disable=not self.progress) as bar:
            ends = np.arange(1, len(packed) + 1)
            check = VectorChecks(self.whole.name, packed, ends, self.normalise)
            for block, first in _numbered(self.whole.blocks()):
                yield {"globals": check.checked(block, first)}
                bar.update(len(block))
            check = VectorChecks(self.patches.name, packed, self.ends, self.normalise)
            for block, first in _numbered(self.patches.blocks(np.diff(self.ends, prepend=0))):
                vectors = check.checked(block, first)
                plain = vectors if self.store in FLOATS else np.asarray(vectors, dtype=np.float32)
                yield store_columns(self.store, plain, None)
                bar.update(len(block))


def _numbered(blocks: Iterator[Any]) -> Iterator[tuple[Any, int]]:
    """Yield each block with the number of its first row."""
    first = 0
    for block in blocks:
        yield block, first
        first += len(block)
