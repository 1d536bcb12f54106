"""Boxes: ``float32 (…, 4)``, ``x0, y0, x1, y1`` in [0, 1] of the image after EXIF rotation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchrerank.errors import RegionError

Floats = npt.NDArray[np.float32]

WHOLE_IMAGE: Floats = np.array([0.0, 0.0, 1.0, 1.0], dtype=np.float32)
NO_BOX: Floats = np.full(4, np.nan, dtype=np.float32)


def check_boxes(boxes: npt.ArrayLike, where: str) -> Floats:
    """Return ``boxes`` as float32 ``(P, 4)`` after checking them.

    Args:
        boxes: anything that becomes a ``(P, 4)`` array of ``x0, y0, x1, y1`` in [0, 1]; ``P`` may
            be 0. Values up to 1e-4 outside are clipped (rounding in other people's files).
        where: how an error names the origin (file and entry, or image id).

    Raises:
        RegionError: wrong shape, NaN, outside [0, 1] or empty (``x1 <= x0`` or ``y1 <= y0``).
    """
    try:
        array = np.asarray(boxes, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise RegionError(f"{where}: boxes must be lists of four numbers ({error})") from error
    if array.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise RegionError(f"{where}: boxes need the shape (P, 4), got {array.shape}")
    inside = (array >= -1e-4) & (array <= 1 + 1e-4)
    clipped = array.clip(0.0, 1.0)
    wide = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    good = inside.all(axis=1) & wide
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise RegionError(
            f"{where}: box {row} is {array[row].tolist()}; expected x0 < x1 and y0 < y1 within "
            "[0, 1] of the image (divide pixel boxes by its width and height)"
        )
    return np.ascontiguousarray(clipped)


def in_region(name: str, box: Floats) -> str:
    """Return how messages name a region ``(4,)`` of a picture: the picture alone where it is all.

    Such as ``'a.jpg' in the region (0.5, 0, 1, 0.5)``.
    """
    if (box == WHOLE_IMAGE).all():
        return repr(name)
    sides = ", ".join(f"{side:.4g}" for side in box.tolist())
    return f"{name!r} in the region ({sides})"


def from_pixels(boxes: npt.ArrayLike, width: int, height: int, layout: str = "xyxy") -> Floats:
    """Return pixel boxes ``(P, 4)`` as relative ones; ``layout`` is ``xyxy`` or ``xywh``."""
    array = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    if layout == "xywh":
        array[:, 2:] += array[:, :2]
    elif layout != "xyxy":
        raise RegionError(f"box layout {layout!r} is unknown; use 'xyxy' or 'xywh'")
    array /= np.array([width, height, width, height], dtype=np.float64)
    return array.astype(np.float32)


def to_pixels(box: npt.ArrayLike, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the nearest whole-pixel ``(x0, y0, x1, y1)``, at least one pixel wide and high."""
    x0, y0, x1, y1 = (float(value) for value in np.asarray(box, dtype=np.float64))
    left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
    return left, top, max(round(x1 * width), left + 1), max(round(y1 * height), top + 1)


TURNS: dict[int, tuple[str, str]] = {
    1: ("x", "y"),
    2: ("-x", "y"),
    3: ("-x", "-y"),
    4: ("x", "-y"),
    5: ("y", "x"),
    6: ("-y", "x"),
    7: ("-y", "-x"),
    8: ("y", "-x"),
}
"""EXIF orientation → which coordinate of the stored picture (``-``: from its other end) becomes x
and y of the upright one."""


def turned(boxes: Floats, orientation: int) -> Floats:
    """Return relative boxes ``(P, 4)`` of stored pixels as those of the upright picture.

    Args:
        boxes: ``x0, y0, x1, y1`` in [0, 1] of the picture as it is stored.
        orientation: EXIF orientation, 1 to 8; 1 changes nothing.
    """
    ends = {"x": boxes[:, [0, 2]], "y": boxes[:, [1, 3]]}
    ends |= {f"-{name}": 1 - pair[:, ::-1] for name, pair in ends.items()}
    across, down = (ends[name] for name in TURNS[orientation])
    return np.stack([across[:, 0], down[:, 0], across[:, 1], down[:, 1]], axis=1)


def area(boxes: Floats) -> Floats:
    """Return the area ``(…,)`` of boxes ``(…, 4)`` as a share of the image."""
    return np.asarray(
        (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]), dtype=np.float32
    )


def iou(first: Floats, second: Floats) -> Floats:
    """Return the intersection over union of two broadcastable arrays of boxes, in [0, 1].

    A NaN box (no box) overlaps nothing: 0.
    """
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=-1)
    union = area(first) + area(second) - shared
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.nan_to_num(shared / union, nan=0.0, posinf=0.0)
    return np.asarray(found, dtype=np.float32)
