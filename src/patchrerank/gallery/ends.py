"""Cumulative counts, and the ids that they cut; checked where they are first used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import RESTORE, Array, array_path


def checked_ends(
    folder: Path, name: str, ends: Array, total: int, *, empty: bool = True
) -> npt.NDArray[np.int64]:
    """Return cumulative counts int64 ``(N,)`` after checking that they rise from 0 to ``total``.

    Args:
        folder: where the array lies.
        name: of the array.
        ends: its values.
        total: what the last must be.
        empty: two may be equal.

    Raises:
        GalleryError: names the file and the first bad row.
    """
    stops = np.asarray(ends, dtype=np.int64)
    wrong = np.diff(stops, prepend=0) < (0 if empty else 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise GalleryError(
            f"{array_path(folder, name)}: row {row} ends at {stops[row]}, the one before it at "
            f"{stops[row - 1] if row else 0}: not increasing; {RESTORE}"
        )
    if (int(stops[-1]) if len(stops) else 0) != total:
        last = stops[-1] if len(stops) else 0
        raise GalleryError(
            f"{array_path(folder, name)}: ends at {last}, expected {total}; {RESTORE}"
        )
    return stops
