"""Whether imported vectors are what a gallery holds: finite and of unit norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError
from patchrerank.gallery.import_ids import PackedIds
from patchrerank.types import Floats, Rows

Vectors = npt.NDArray[Any]
TOLERANCE = {2: 3e-3, 4: 1e-3, 8: 1e-3}
"""How far from 1 a norm may be, by the bytes of a value."""
NORMALISE = "normalise them, or have it done with normalise=True"


@dataclass(frozen=True)
class VectorChecks:
    """Checks vectors block by block, and divides them by their norms if that is asked for.

    Attributes:
        name: of the array.
        ids: of the N images.
        ends: int64 ``(N,)``, where the vectors of each end.
        normalise: divide vectors by their norms.
        unit: whether vectors have unit norm; codes of a network need not.
    """

    name: str
    ids: PackedIds
    ends: Rows
    normalise: bool
    unit: bool = True

    def checked(self, block: Vectors, first: int) -> Vectors:
        """Return the vectors ``(n, d)`` from the one numbered ``first`` on, as they are stored.

        Raises:
            GalleryError: NaN or infinite values, no direction, or not of unit norm; names the
                array, the row, and its image.
        """
        from patchrerank.kernels.norms import squared_norms

        squares = squared_norms(block)
        self._refuse(~np.isfinite(squares), first, "holds NaN or infinite values; encode it again")
        if not self.unit:
            return block
        self._refuse(
            squares == 0,
            first,
            "is all zeros and has no direction; leave padding out (counts), or encode it again",
        )
        if self.normalise:
            return _normalised(block)
        norms = np.sqrt(squares)
        off = np.abs(norms - 1) > TOLERANCE[block.dtype.itemsize]
        if off.any():
            norm = norms[np.argmax(off)]
            self._refuse(off, first, f"has the norm {norm:.4g} in place of 1; {NORMALISE}")
        return block

    def _refuse(self, bad: npt.NDArray[np.bool_], first: int, why: str) -> None:
        if bad.any():
            row = first + int(np.argmax(bad))
            image = int(np.searchsorted(self.ends, row, side="right"))
            raise GalleryError(f"{self.name}: row {row}, of {self.ids.named(image)}, {why}")


def _normalised(block: Vectors) -> Floats:
    plain = np.asarray(block, dtype=np.float64 if block.dtype.itemsize == 8 else np.float32)
    return np.asarray(plain / np.linalg.norm(plain, axis=1, keepdims=True), dtype=np.float32)
