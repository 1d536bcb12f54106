"""Where the pictures of joined galleries lie, and the backgrounds that were cut from them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from patchrerank.gallery.backgrounds import COUNT, Backgrounds
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.manifest import PictureRecord
from patchrerank.gallery.removed_rows import Flags
from patchrerank.types import Rows


@dataclass(frozen=True)
class JoinedPictures:
    """Pictures of several galleries that lie in other files.

    Attributes:
        record: with the files of all.
        root: the folder that their paths are relative to.
        numbers: of each gallery, the number in ``record`` of each of its files.
    """

    record: PictureRecord
    root: str
    numbers: tuple[Rows, ...]


def joined_pictures(galleries: Sequence[Gallery]) -> JoinedPictures | None:
    """Return where the pictures of all galleries lie; None unless all lie, and are read, alike.

    Args:
        galleries: at least one, none of them of shards.
    """
    made = [one.manifest for one in galleries]
    how = {None if one.pictures is None else replace(one.pictures, files=()) for one in made}
    roots = [one.root for one in made if one.root is not None]
    if len(how) != 1 or None in how or len(roots) < len(made):
        return None
    root = os.path.commonpath(roots)
    held: dict[tuple[str, int, int], int] = {}
    numbers = []
    for one, own in zip(made, roots, strict=True):
        files = () if one.pictures is None else one.pictures.files
        paths = (os.path.normpath(os.path.join(os.path.relpath(own, root), f[0])) for f in files)
        new = [(path, *file[1:]) for path, file in zip(paths, files, strict=True)]
        numbers.append(np.array([held.setdefault(file, len(held)) for file in new], dtype=np.int64))
    record = next(one for one in how if one is not None)
    return JoinedPictures(replace(record, files=tuple(held)), root, tuple(numbers))


def joined_backgrounds(
    galleries: Sequence[Gallery], removed: Sequence[Flags], before: Backgrounds | None = None
) -> Backgrounds | None:
    """Return backgrounds of all galleries, the usual number spread over those that they have.

    Args:
        galleries: to join.
        removed: bool ``(n,)`` of each, rows whose pictures no background may be of.
        before: more, which count as those of one gallery more.

    Returns:
        None where none of them has any.
    """
    banks = [] if before is None else [before]
    for gallery, flags in zip(galleries, removed, strict=True):
        if gallery.has_backgrounds:
            gone = {str(gallery.ids[row]) for row in np.flatnonzero(flags).tolist()}
            banks.append(gallery.backgrounds.without(gone))
    jpegs = [jpeg for bank in banks for jpeg in bank.jpegs]
    ids = [name for bank in banks for name in bank.ids]
    most = max(COUNT, *map(len, banks)) if banks else 0
    some = np.unique(np.linspace(0, len(jpegs) - 1, min(most, len(jpegs))).round()).astype(int)
    if not len(some):
        return None
    return Backgrounds(tuple(jpegs[n] for n in some), tuple(ids[n] for n in some))
