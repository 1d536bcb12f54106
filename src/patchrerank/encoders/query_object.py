"""The object of a query picture, told from its ground."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchrerank.boxes import Floats, to_pixels
from patchrerank.encoders.foreground import foreground_mask
from patchrerank.encoders.grabcut import grabcut_mask
from patchrerank.errors import QueryError
from patchrerank.images import Mask
from patchrerank.types import QueryViews, ViewSource

Bytes = npt.NDArray[np.uint8]

LONGEST = 896
"""Pixels of the longer side to which a picture is reduced before its object is cut out."""
EDGE = 1.0
"""Pixels over which an object fades towards its edge, where it is mixed with its ground."""
MARGIN = 8
"""Pixels around an object beyond which nothing tells how it fades."""
WHOLE = 0.5
"""Share of the picture that a box covers at most; of a larger one a scene is meant, no object."""
KEPT = 0.5
"""Share of an object's pixels that must be left of it so."""


@dataclass(frozen=True, eq=False)
class QueryObject:
    """An object, cut out.

    Attributes:
        pixels: uint8 ``(h, w, 4)``: red, green, blue, alpha; cropped to what is solid.
        source: what told it from its ground.
    """

    pixels: Bytes
    source: ViewSource


def find_object(
    picture: Image.Image,
    views: QueryViews,
    *,
    box: Floats | None = None,
    mask: Mask | None = None,
    alpha: Mask | None = None,
) -> QueryObject | None:
    """Cut the object out of a query picture; None where nothing tells it from its ground.

    The first of these counts that there is: mask, transparency, plain background, box. With a box,
    what lies outside of it is no part of the object.

    Args:
        picture: upright, of any size.
        views: whether GrabCut looks for it in the box.
        box: float32 ``(4,)`` in [0, 1]; None or NaN: unknown. One that covers more than half of
            the picture tells nothing by itself.
        mask: that came with the query, bool ``(H, W)``, of any resolution.
        alpha: where the picture is not transparent, likewise.

    Raises:
        QueryError: the mask is true nowhere in the box.
        MissingExtraError: GrabCut is asked for and OpenCV is not installed.
    """
    known = None if box is None or np.isnan(box).any() else box
    small = _reduced(picture)
    for found, source in _masks(small, views, known, mask, alpha):
        inside = found if known is None else found & _box_mask(small, known)
        if inside.any():
            return QueryObject(_cut(small, inside, EDGE if source != "box" else 0.0), source)
        if source == "mask":
            raise QueryError("the mask is true nowhere in the box; one of them is wrong")
    return None


def faded(mask: Mask, edge: float) -> Bytes:
    """Return a mask as alpha, uint8 ``(H, W)``, that fades inwards over ``edge`` pixels.

    Where that would leave less than half of the object, as of thin ones, it does not fade.
    """
    from scipy.ndimage import gaussian_filter

    whole = mask.astype(np.uint8) * np.uint8(255)
    if edge <= 0:
        return whole
    soft = gaussian_filter(np.pad(mask, 3, mode="edge").astype(np.float32), edge)[3:-3, 3:-3]
    alpha = np.where(mask, (510 * soft - 255).clip(0, 255), 0).astype(np.uint8)
    return alpha if (alpha > 127).sum() >= KEPT * mask.sum() else whole


def _masks(
    picture: Image.Image,
    views: QueryViews,
    box: Floats | None,
    given: Mask | None,
    alpha: Mask | None,
) -> Iterator[tuple[Mask, ViewSource]]:
    if given is not None:
        yield _resized(given, picture.size), "mask"
    if alpha is not None:
        yield _resized(alpha, picture.size), "alpha"
    plain = foreground_mask(picture)
    if plain is not None:
        yield plain, "plain"
    if box is None:
        return
    cut = grabcut_mask(picture, box) if views.mask == "grabcut" else None
    if cut is not None:
        yield cut, "grabcut"
    if (box[2] - box[0]) * (box[3] - box[1]) <= WHOLE:
        yield _box_mask(picture, box), "box"


def _reduced(picture: Image.Image) -> Image.Image:
    """Return a picture whose longer side has at most ``LONGEST`` pixels."""
    scale = LONGEST / max(picture.size)
    if scale >= 1.0:
        return picture
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling.BOX)


def _resized(mask: Mask, size: tuple[int, int]) -> Mask:
    if mask.shape == size[::-1]:
        return mask
    grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    return np.asarray(grey.resize(size, Image.Resampling.BOX)) > 127


def _box_mask(picture: Image.Image, box: Floats) -> Mask:
    mask = np.zeros(picture.size[::-1], dtype=np.bool_)
    left, top, right, bottom = to_pixels(box, *picture.size)
    mask[top:bottom, left:right] = True
    return mask


def _cut(picture: Image.Image, mask: Mask, edge: float) -> Bytes:
    """Return what is solid of a picture under a mask that fades, uint8 ``(h, w, 4)``."""
    near = _around(mask, MARGIN)
    alpha = faded(mask[near], edge)
    solid = _around(alpha > 127, 0)
    colours = np.asarray(picture.convert("RGB"))[near][solid]
    return np.concatenate([colours, alpha[solid][..., None]], axis=2)


def _around(mask: Mask, margin: int) -> tuple[slice, slice]:
    """Return the rows and columns where a mask is true, and so many more on each side."""
    lines = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(max(0, at[0] - margin), at[-1] + 1 + margin) for at in lines)
    return rows, columns
