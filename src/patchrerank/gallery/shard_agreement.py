"""Whether galleries can be one: made alike, by one encoder, and no id in two of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError, shown
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.id_table import table_size
from patchrerank.gallery.identity import UNKNOWN, differences
from patchrerank.gallery.ids import Ids
from patchrerank.gallery.manifest import Manifest
from patchrerank.gallery.removed_rows import Flags
from patchrerank.kernels.segments import Segments

KEYS = ("identity", "whitened", "regions", "store", "dim", "id_type")
"""What galleries that are to be one must agree in; ``identity`` covers the whitening too."""
REMEDIES = {
    "store": "index the pictures of one again with the --store of the other",
    "regions": "index the pictures of one again with the --regions of the other",
}
"""What to do where galleries differ in a key; for all others there is one answer."""
MOST_IMAGES = (1 << 32) - 2
"""What a table of ids can number."""


def check_alike(galleries: Sequence[Gallery]) -> None:
    """Refuse galleries that cannot be one.

    Raises:
        GalleryError: names the first and one that differs from it, and in what.
    """
    first = galleries[0]
    for other in galleries[1:]:
        for key in (*KEYS, "pq_centroids"):
            mine, theirs = (_value(one.manifest, key) for one in (first, other))
            if mine != theirs:
                raise GalleryError(
                    f"{first.folder} and {other.folder} cannot be one gallery: they differ in "
                    f"{key}, {_told(key, first.manifest, other.manifest)}"
                )
    if sum(map(len, galleries)) > MOST_IMAGES:
        raise GalleryError(f"one gallery holds at most {MOST_IMAGES} images")


def _value(made: Manifest, key: str) -> Any:
    if key == "pq_centroids":
        record = made.arrays.get(key)
        return None if record is None else (record.shape, record.crc32)
    return getattr(made, key)


def _told(key: str, mine: Manifest, theirs: Manifest) -> str:
    if key == "identity":
        told = differences(mine.encoder, theirs.encoder)
        if not told and (mine.whitened or theirs.whitened):
            return (
                "which whitening was learned apart; index the pictures of one again with --whiten "
                "and the folder of the other (none, if that is not whitened)"
            )
        told = told or UNKNOWN
        return f"{told}; index the pictures of one again, as those of the other were"
    if key == "pq_centroids":
        return (
            "product quantisers that were trained apart; join the float galleries first, and "
            "compress what that gives"
        )
    told = f"{shown(_value(mine, key))} and {shown(_value(theirs, key))}"
    return f"{told}; {REMEDIES.get(key, 'make one again as the other was made')}"


def id_table_of(galleries: Sequence[Gallery], removed: Flags) -> npt.NDArray[np.uint32]:
    """Return the table in which the ids of all galleries, one behind the other, are found.

    Args:
        galleries: alike.
        removed: bool ``(N,)``, which of all their rows were removed.

    Raises:
        GalleryError: an id stands in two of them; names both.
    """
    from patchrerank.kernels.ids import table_of

    rows, sizes = (
        np.cumsum([0, *(one.manifest.arrays[name].shape[0] for one in galleries)])
        for name in ("id_ends", "ids")
    )
    blob = Segments(sizes, np.uint8, (), lambda part: galleries[part].first_used("ids"))
    ends = Segments(rows, np.int64, (), lambda part: galleries[part].array("id_ends"), sizes)
    gone = removed.astype(np.uint8)
    table, twice = table_of(blob, ends, table_size(len(ends)), gone)
    if twice >= 0:
        kind: Any = galleries[0].manifest.id_type
        ids = Ids(Path(), blob, ends, kind, table, gone)  # type: ignore[arg-type]
        before = int(ids.rows_of([ids[twice]])[0])
        names = [
            galleries[int(np.searchsorted(rows, row, side="right")) - 1].folder
            for row in (before, twice)
        ]
        raise GalleryError(
            f"the id {shown(ids[twice])} stands in {names[0]} and again in {names[1]}; leave the "
            "image out of one of them"
        )
    return table
