"""How many images a sync may take out: a disc that is not there looks like one that was emptied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from patchrerank.errors import SettingError, shown

LEAST = 10
"""Images; fewer are always taken out."""
MOST = "50%"
"""Of a gallery, unless it is said how many."""


def most_removed(most: int | str, images: int) -> int:
    """Return how many of a gallery's images may go.

    Args:
        most: a number of them, or a share such as ``"50%"``.
        images: that there are.

    Raises:
        SettingError: it is neither.
    """
    text = str(most).strip()
    number, share = text.removesuffix("%"), text.endswith("%")
    try:
        value = float(number) if share else int(number)
    except ValueError:
        value = -1
    if isinstance(most, bool) or not (0 <= value <= 100 if share else value >= 0):
        raise SettingError(
            f"max_removed is {shown(most)}; use a number of images, or a share such as '50%'"
        )
    return int(images * value / 100) if share else int(value)


def why_not(
    gone: Sequence[str], there: Iterable[str], images: int, most: int | str | None
) -> str | None:
    """Return why so many images are not taken out without being asked for; None: they may go.

    Args:
        gone: ids that would be taken out.
        there: ids of the pictures that are in the folder.
        images: how many the gallery has.
        most: how many may go, see :func:`most_removed`; None: half of them, and no folder of 10
            or more of which nothing is left.
    """
    limit = most_removed(MOST if most is None else most, images)
    say = f"if they are gone for good, say so with max_removed={len(gone)} (--max-removed)"
    if most is None and len(gone) < LEAST:
        return None
    if most is None and (lost := _lost_folder(gone, there)) is not None:
        folder, count = lost
        return (
            f"no picture is left in its folder {folder!r}, of which the gallery holds {count}: is "
            f"a disc not mounted, or the folder emptied? {len(gone)} images in all would be taken "
            f"out; {say}"
        )
    if len(gone) > limit:
        return (
            f"{len(gone)} of the gallery's {images} images, such as {gone[0]!r}, are in the folder "
            f"no more, and at most {limit} are taken out; {say}"
        )
    return None


def _lost_folder(gone: Sequence[str], there: Iterable[str]) -> tuple[str, int] | None:
    """Return the topmost folder that lost most, and all, of what is in it, and how much."""
    lost = Counter(folder for name in gone for folder in _folders(name))
    large = {folder for folder, count in lost.items() if count >= LEAST}
    for name in there if large else ():
        large.difference_update(_folders(name))
    if not large:
        return None
    first = min(large, key=lambda folder: (-lost[folder], folder.count("/"), folder))
    return first, lost[first]


def _folders(name: str) -> Iterable[str]:
    """Yield the folders below the root that a picture is in."""
    return (str(one) for one in PurePosixPath(name).parents if str(one) != ".")
