"""From feature maps to the local descriptors of a picture, and to those of its query part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import check_boxes
from patchrerank.cells import Cells
from patchrerank.encoders.detector import Selection
from patchrerank.encoders.normalise import NOT_FINITE
from patchrerank.errors import QueryError, VectorError
from patchrerank.types import Floats, LocalDescriptors

if TYPE_CHECKING:
    from patchrerank.encoders.dense_network import Maps


def check_maps(maps: Sequence[Maps], origin: str) -> None:
    """Refuse maps of a batch, one entry a scale, that hold other values than finite ones.

    Raises:
        VectorError: names what made them (``origin``) and the pictures' numbers in the batch.
    """
    bad: set[int] = set()
    for level in maps:
        for values in (level.features, level.strengths):
            if values is not None:
                other = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
                bad.update(np.flatnonzero(other).tolist())
    if bad:
        what = f"{origin} returned NaN or infinite values for"
        raise VectorError(what, f"picture {min(bad)}", NOT_FINITE, sorted(bad))


def pick_all(
    launched: Sequence[Callable[[], Maps]],
    cells: Sequence[Cells],
    selection: Selection,
    origin: str,
) -> list[LocalDescriptors]:
    """Wait for the maps of a batch, one entry a scale, and return each picture's descriptors.

    Raises:
        VectorError: as :func:`check_maps` does.
    """
    maps = [fetch() for fetch in launched]
    check_maps(maps, origin)
    numbers = range(len(maps[0].features))
    return [pick_descriptors(maps, cells, number, selection) for number in numbers]


def pick_descriptors(
    maps: Sequence[Maps], cells: Sequence[Cells], picture: int, selection: Selection
) -> LocalDescriptors:
    """Return the descriptors of one picture, from its maps at all scales, strongest first.

    Args:
        maps: of a batch, one entry a scale, finite (:func:`check_maps`).
        cells: where their cells lie.
        picture: its number in the batch.
        selection: which are kept.
    """
    levels = [
        _level(found, where, picture, number)
        for number, (found, where) in enumerate(zip(maps, cells, strict=True))
    ]
    columns = zip(*levels, strict=True)
    vectors, weights, positions, scales = (np.concatenate(column) for column in columns)
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    strengths = norms.astype(np.float32) if selection.by == "norm" else weights
    usable = np.flatnonzero(norms > np.finfo(np.float32).tiny)
    order = usable[np.argsort(-strengths[usable], kind="stable")][: selection.count]
    return LocalDescriptors(
        vectors=(vectors[order] / norms[order, None]).astype(np.float32),
        positions=positions[order],
        scales=scales[order],
        weights=strengths[order],
    )


def take(descriptors: LocalDescriptors, keep: npt.NDArray[np.generic] | slice) -> LocalDescriptors:
    """Return the descriptors that an index, a boolean array or a slice names, in order."""
    return LocalDescriptors(
        vectors=np.ascontiguousarray(descriptors.vectors[keep]),
        positions=np.ascontiguousarray(descriptors.positions[keep]),
        scales=np.ascontiguousarray(descriptors.scales[keep]),
        weights=np.ascontiguousarray(descriptors.weights[keep]),
    )


def joined(parts: Sequence[LocalDescriptors], dim: int) -> LocalDescriptors:
    """Return the descriptors of several pictures one behind the other, float32 ``(n, dim)``."""
    nothing = LocalDescriptors(
        np.empty((0, dim), np.float32),
        np.empty((0, 2), np.float32),
        np.empty(0, np.int16),
        np.empty(0, np.float32),
    )
    every = [nothing, *parts]
    return LocalDescriptors(
        vectors=np.concatenate([part.vectors for part in every]),
        positions=np.concatenate([part.positions for part in every]),
        scales=np.concatenate([part.scales for part in every]),
        weights=np.concatenate([part.weights for part in every]),
    )


def restrict(
    descriptors: LocalDescriptors,
    box: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
    *,
    salient: bool = False,
) -> LocalDescriptors:
    """Keep the part of a query picture's descriptors that is searched for.

    With a box, those whose cell centre lies in it (edges included); with a mask, those at whose
    cell centre it is true; with both, what both keep. If no centre is inside, the one nearest to
    the middle of the box (or of the mask's true pixels) stays, so only a query without
    descriptors, or with a mask that is false everywhere, ends up with none.

    Args:
        descriptors: of the whole query picture.
        box: float32 ``(4,)``, ``x0, y0, x1, y1`` in [0, 1]; None or NaN: unknown.
        mask: bool ``(H, W)`` over the upright picture, of any resolution; None: unknown.
        salient: where neither is known, keep the salient part (see :func:`salient_part`);
            otherwise everything is kept.

    Raises:
        RegionError: a malformed box.
        QueryError: a mask that is not a picture of booleans.
    """
    known_box = box is not None and not np.isnan(np.asarray(box, dtype=np.float32)).any()
    if not known_box and mask is None:
        return salient_part(descriptors) if salient else descriptors
    if known_box:
        descriptors = _in_box(descriptors, check_boxes(np.asarray(box)[None], "query box")[0])
    return descriptors if mask is None else _in_mask(descriptors, np.asarray(mask))


def salient_part(descriptors: LocalDescriptors) -> LocalDescriptors:
    """Keep the descriptors that are unlike the picture's border.

    The border is taken for background: for each scale, the descriptors of the outermost cells
    are averaged, and each descriptor of the scale is compared (cosine) with that mean. Kept are
    those below the threshold that parts all these cosines best (Otsu, 1979: the largest variance
    between the two classes). Without two different cosines everything is kept.
    """
    likeness = np.empty(len(descriptors), dtype=np.float64)
    for scale in np.unique(descriptors.scales):
        here = np.flatnonzero(descriptors.scales == scale)
        points = descriptors.positions[here]
        edge = ((points == points.min(axis=0)) | (points == points.max(axis=0))).any(axis=1)
        mean = descriptors.vectors[here[edge]].mean(axis=0, dtype=np.float64)
        likeness[here] = descriptors.vectors[here] @ mean / max(np.linalg.norm(mean), 1e-12)
    threshold = otsu_threshold(likeness)
    return descriptors if threshold is None else take(descriptors, likeness < threshold)


def otsu_threshold(values: npt.NDArray[np.float64]) -> float | None:
    """Return what parts ``values (n,)`` into two classes with the largest variance between them.

    The result lies halfway between two neighbouring values; None if all are equal.
    """
    ordered = np.sort(values)
    if len(ordered) < 2 or ordered[-1] - ordered[0] <= 1e-9:
        return None
    low = np.arange(1, len(ordered))
    high = len(ordered) - low
    sums = np.cumsum(ordered)
    gap = sums[:-1] / low - (sums[-1] - sums[:-1]) / high
    cut = int(np.argmax(low * high * gap**2))
    return float((ordered[cut] + ordered[cut + 1]) / 2)


def _level(
    found: Maps, where: Cells, picture: int, scale: int
) -> tuple[Floats, Floats, Floats, npt.NDArray[np.int16]]:
    height, width, dim = found.features.shape[1:]
    count = height * width
    strengths = np.zeros((height, width), np.float32)
    if found.strengths is not None:
        strengths = found.strengths[picture]
    return (
        found.features[picture].reshape(count, dim),
        strengths.reshape(count),
        where.centres(),
        np.full(count, scale, dtype=np.int16),
    )


def _in_box(descriptors: LocalDescriptors, box: Floats) -> LocalDescriptors:
    points = descriptors.positions
    inside = np.flatnonzero(((points >= box[:2]) & (points <= box[2:])).all(axis=1))
    if inside.size:
        return take(descriptors, inside)
    return _nearest(descriptors, (box[:2] + box[2:]) / 2)


def _in_mask(descriptors: LocalDescriptors, mask: npt.NDArray[np.generic]) -> LocalDescriptors:
    if mask.ndim != 2 or mask.dtype != np.bool_ or 0 in mask.shape:
        raise QueryError(
            f"a query mask needs bool (H, W) over the whole picture, got {mask.dtype} {mask.shape}"
        )
    if not mask.any():
        return take(descriptors, slice(0, 0))
    size = np.array(mask.shape)
    at = np.minimum((descriptors.positions[:, ::-1] * size).astype(np.int64), size - 1)
    inside = np.asarray(mask[at[:, 0], at[:, 1]]).reshape(-1)
    if inside.any():
        return take(descriptors, inside)
    middle = [(axis.mean() + 0.5) / side for axis, side in zip(mask.nonzero(), size, strict=True)]
    return _nearest(descriptors, np.array(middle[::-1]))


def _nearest(descriptors: LocalDescriptors, point: npt.NDArray[np.floating]) -> LocalDescriptors:
    distance = np.square(descriptors.positions - point).sum(axis=1)
    return take(descriptors, np.argsort(distance, kind="stable")[:1])
