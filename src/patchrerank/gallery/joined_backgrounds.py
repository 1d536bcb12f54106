"""The backgrounds of galleries that are joined."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from patchrerank.gallery.backgrounds import BACKGROUNDS, COUNT, Backgrounds
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.removed_rows import Flags


def join_backgrounds(
    folder: Path, parts: Sequence[Gallery], removed: Sequence[Flags], before: Gallery | None
) -> None:
    """Keep backgrounds with a gallery made of others: 64 of theirs, taken from each in turn.

    A gallery of shards that has some keeps its own. None are of pictures that were removed.

    Args:
        folder: that is written; its lock is held.
        parts: which are joined.
        removed: bool ``(n,)`` of each, which rows were removed.
        before: the gallery of shards that stands there, of some of them.

    Raises:
        GalleryError: those of one are damaged.
    """
    gone = {
        str(part.ids[row])
        for part, flags in zip(parts, removed, strict=True)
        for row in np.flatnonzero(flags).tolist()
    }
    sources = parts if before is None or not before.has_backgrounds else [before]
    banks = [one.backgrounds.without(gone) for one in sources if one.has_backgrounds]
    turns = zip_longest(*(zip(bank.jpegs, bank.ids, strict=True) for bank in banks))
    dealt = [crop for crop in chain.from_iterable(turns) if crop is not None]
    kept = dealt if len(banks) == 1 else dealt[:COUNT]
    if kept:
        jpegs, ids = zip(*kept, strict=True)
        Backgrounds(jpegs, ids).save(folder / BACKGROUNDS)
    else:
        (folder / BACKGROUNDS).unlink(missing_ok=True)
