"""Aspect ratios: of the object in a query picture, and of boxes drawn towards it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from patchrerank.images import HeldSource, read_image, upright_size
from patchrerank.types import Floats, Queries


def with_aspects(queries: Queries) -> Queries:
    """Add the aspect ratio of each query's object to queries that have pictures and none yet.

    It is that of the query's box; without one, that of the foreground's bounds where the
    background is plain (:func:`patchrerank.encoders.foreground_mask`); else it is unknown.
    """
    if queries.aspects is not None or queries.images is None:
        return queries
    boxes = np.full((len(queries), 4), np.nan) if queries.boxes is None else queries.boxes
    pairs = zip(queries.images, boxes, strict=True)
    aspects = [
        _of_box(*pair) if not np.isnan(pair[1]).any() else _of_mask(pair[0]) for pair in pairs
    ]
    return replace(queries, aspects=np.array(aspects, dtype=np.float32))


def drawn_to(boxes: Floats, sizes: npt.ArrayLike, aspect: float, share: float) -> Floats:
    """Return boxes whose aspect ratio is drawn towards another one.

    Centre and area stay as they are, but for what reaches beyond the picture, which is cut off.

    Args:
        boxes: float32 ``(k, 4)`` in [0, 1]; a NaN row stays one.
        sizes: ``(k, 2)``, width and height of their pictures in pixels; 0 where unknown: the box
            stays as it is.
        aspect: width over height in pixels; NaN: all stay as they are.
        share: how far, in [0, 1], on the logarithmic scale: 0 not at all, 1 all the way.
    """
    pixels = np.asarray(sizes, dtype=np.float64)
    known = (pixels > 0).all(axis=1) & np.isfinite(aspect)
    width, height = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64).T
    with np.errstate(invalid="ignore", divide="ignore"):
        own = width * pixels[:, 0] / (height * pixels[:, 1])
        factor = np.where(known, (aspect / own) ** (share / 2), 1.0)
        sides = np.stack([width * factor, height / factor], axis=1) / 2
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    drawn = np.concatenate([centres - sides, centres + sides], axis=1).clip(0.0, 1.0)
    return np.where(known[:, None], drawn, boxes).astype(np.float32)


def _of_box(image: HeldSource, box: Floats) -> float:
    width, height = upright_size(image)
    return float((box[2] - box[0]) * width / ((box[3] - box[1]) * height))


def _of_mask(image: HeldSource) -> float:
    from patchrerank.encoders import foreground_mask

    mask = foreground_mask(read_image(image))
    if mask is None:
        return float("nan")
    width, height = (np.ptp(np.flatnonzero(mask.any(axis=axis))) + 1 for axis in (0, 1))
    return float(width / height)
