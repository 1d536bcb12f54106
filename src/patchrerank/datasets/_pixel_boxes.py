"""Boxes in pixels: read from text files, and told apart as ``x y w h`` or ``x0 y0 x1 y1``."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import check_boxes, from_pixels
from patchrerank.datasets._sources import read_lines
from patchrerank.errors import DatasetError, RegionError, SettingError, near_matches
from patchrerank.images import stored_orientation, upright_size
from patchrerank.regions import SIDEWAYS
from patchrerank.types import Floats

BoxFormat = Literal["xyxy", "xywh"]
Doubles = npt.NDArray[np.float64]
FORMATS: tuple[BoxFormat, ...] = get_args(BoxFormat)

SLACK = 1.0
"""Pixels that a box may leave its picture by before it counts as impossible (1-based corners)."""

LARGEST_SHARE = 0.01
"""Share of impossible boxes that the right format may have: slips of the pen."""

CLEARLY = 10
"""The wrong format must have more impossible boxes than that share, and so many times more."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PixelBox:
    """Boxes of one picture as a file holds them.

    Attributes:
        values: float64 ``(B, 4)``, in pixels.
        size: width and height of the upright picture.
        where: how errors name their origin.
        sideways: whether it is stored lying on its side (EXIF orientation 5 to 8).
    """

    values: Doubles
    size: tuple[int, int]
    where: str
    sideways: bool = False

    @classmethod
    def of(cls, values: Doubles, picture: Path, where: str) -> PixelBox:
        """Return boxes of a picture file."""
        sideways = stored_orientation(picture) in SIDEWAYS
        return cls(values, upright_size(picture), where, sideways)


def read_box_file(path: Path, picture: str) -> Doubles:
    """Return the boxes of a text file, float64 ``(B, 4)`` with B ≥ 1, four numbers a line.

    Raises:
        DatasetError: the file is missing or empty, or a line is something else.
    """
    holds = f"the boxes of {picture}, four numbers a line (x y width height)"
    lines = read_lines(path, holds)
    boxes = [_four_numbers(line) for line in lines]
    for number, (line, box) in enumerate(zip(lines, boxes, strict=True)):
        if box is None:
            raise DatasetError(f"{path}: box {number} is {line!r}; the file should hold {holds}")
    if not boxes:
        raise DatasetError(f"{path}: the file is empty; it should hold {holds}")
    return np.array(boxes, dtype=np.float64)


def settle_format(
    boxes: Sequence[PixelBox], asked: str, option: str, what: str
) -> tuple[BoxFormat, str]:
    """Return in which format boxes are, and in words how that was settled.

    In the wrong format many boxes are impossible: they leave their picture by more than a pixel,
    or end before they begin.

    Args:
        boxes: all boxes that share a format.
        asked: ``xyxy`` or ``xywh`` to say it; ``auto`` to see it in the boxes.
        option: name of the option that ``asked`` is the value of.
        what: what the boxes are, for messages.

    Raises:
        SettingError: ``asked`` is something else.
        DatasetError: the boxes do not settle it.
    """
    if asked != "auto" and asked not in FORMATS:
        raise SettingError(
            f"{option} is {asked!r}{near_matches(asked, FORMATS)}; use auto, xyxy or xywh"
        )
    bad = {format_: sum(_impossible(box, format_) for box in boxes) for format_ in FORMATS}
    total = sum(len(box.values) for box in boxes)
    told = f"of {total} {what} {bad['xyxy']} are impossible as xyxy, {bad['xywh']} as xywh"
    slips = LARGEST_SHARE * total
    for format_, other in (FORMATS, FORMATS[::-1]):
        if asked == format_:
            return format_, f"said by {option}; {told}"
        fits = bad[format_] <= slips and bad[other] > max(slips, CLEARLY * bad[format_])
        if asked == "auto" and fits:
            return format_, told
    if total == 0:
        return "xywh", f"there are no {what}"
    raise DatasetError(
        f"{boxes[0].where}: {told}, so they do not settle their format; say it by the option "
        f"{option}=xyxy or {option}=xywh"
    )


def relative_boxes(boxes: Sequence[PixelBox], format_: BoxFormat) -> list[Floats]:
    """Return the boxes of each picture, float32 ``(B, 4)``, in [0, 1], clipped to the picture.

    How many were cut off by more than a pixel is logged.

    Raises:
        DatasetError: nothing of a box lies in its picture, or a box fits a photograph only as it
            is stored, lying on its side.
    """
    for box in boxes:
        _check_upright(box, format_)
    found = [_relative(box, format_) for box in boxes]
    cut = [box for box in boxes if _impossible(box, format_)]
    if cut:
        logger.warning(
            "%d pictures have boxes that leave them, which are cut off; the first is %s (%s, %s)",
            len(cut), cut[0].where, cut[0].values.tolist(), cut[0].size,
        )  # fmt: skip
    return found


def _relative(box: PixelBox, format_: BoxFormat) -> Floats:
    relative = from_pixels(box.values, *box.size, layout=format_).clip(0.0, 1.0)
    try:
        return check_boxes(relative, box.where)
    except RegionError as error:
        raise DatasetError(
            f"{box.where}: one of the boxes {box.values.tolist()} ({format_}, pixels) has nothing "
            f"in the picture of {box.size[0]} × {box.size[1]} pixels"
        ) from error


def _check_upright(box: PixelBox, format_: BoxFormat) -> None:
    """Refuse boxes that leave the upright picture but not the pixels as they are stored."""
    lying = replace(box, size=box.size[::-1])
    if box.sideways and _impossible(box, format_) and not _impossible(lying, format_):
        raise DatasetError(
            f"{box.where}: the boxes {box.values.tolist()} ({format_}, pixels) fit this picture "
            f"only as it is stored, {lying.size[0]} × {lying.size[1]} pixels; upright, by its EXIF "
            f"orientation, it has {box.size[0]} × {box.size[1]}. Turn the boxes, or remove the "
            "orientation from the pictures of this data set"
        )


def _impossible(box: PixelBox, format_: BoxFormat) -> int:
    """Return how many boxes leave their picture, or end before they begin."""
    low, high = box.values[:, :2], box.values[:, 2:]
    if format_ == "xywh":
        high = low + high
    outside = (low < -SLACK) | (high > np.array(box.size, dtype=np.float64) + SLACK)
    return int((outside | (high <= low)).any(axis=1).sum())


def _four_numbers(line: str) -> list[float] | None:
    try:
        values = [float(part) for part in line.replace(",", " ").split()]
    except ValueError:
        return None
    return values if len(values) == 4 and all(map(math.isfinite, values)) else None
