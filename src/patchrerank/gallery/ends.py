"""Cumulative counts, and the ids that they cut; checked where they are first used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import RESTORE, Array, array_path


def decode_ids(folder: Path, blob: Array, ends: Array) -> list[str]:
    """Return the ids whose UTF-8 bytes stand one behind the other in ``blob``.

    Raises:
        GalleryError: an id is empty or no UTF-8, or the ends do not rise to the length of
            ``blob``; names the file and the row.
    """
    stops = checked_ends(folder, "id_ends", ends, len(blob), empty=False).tolist()
    text, starts = blob.tobytes(), [0, *stops[:-1]]
    try:
        return [text[a:b].decode("utf-8") for a, b in zip(starts, stops, strict=False)]
    except UnicodeDecodeError:
        row = next(row for row, end in enumerate(stops) if not _is_text(text[starts[row] : end]))
        raise GalleryError(
            f"{array_path(folder, 'ids')}: the id of row {row} is not valid UTF-8; {RESTORE}"
        ) from None


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


def _is_text(raw: bytes) -> bool:
    try:
        return bool(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return False
