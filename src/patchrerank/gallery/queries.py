"""Encoding queries the way a gallery was encoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchrerank.boxes import NO_BOX, WHOLE_IMAGE, Floats, check_boxes, in_region
from patchrerank.errors import QueryError, RegionError, SettingError, shown, whose_vectors
from patchrerank.gallery.backgrounds import Backgrounds
from patchrerank.gallery.identity import identity_of
from patchrerank.gallery.query_views import SeenQueries
from patchrerank.gallery.view_vectors import (
    query_crop,
    view_vectors,
    views_apply,
    warn_of_no_object,
)
from patchrerank.images import HeldSource, ImageSource, describe_source, held_source
from patchrerank.types import AutoViews, Queries, QueryCrop, QueryViews, Text, ViewSource

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder, Whitening


def encode_queries(
    encoder: Encoder,
    images: Sequence[ImageSource],
    *,
    boxes: Sequence[npt.ArrayLike | None] | None = None,
    masks: Sequence[Any] | None = None,
    crop: QueryCrop = "none",
    views: QueryViews | None = None,
    backgrounds: Backgrounds | None = None,
    whitening: Whitening | None = None,
    batch: int = 32,
) -> Queries:
    """Encode query pictures into one global descriptor each.

    Args:
        encoder: the gallery's encoder.
        images: paths, file bytes, open binary files or pictures.
        boxes: where the object is in each picture, ``x0, y0, x1, y1`` in [0, 1], or None.
        masks: where it is, more exactly: of each what :func:`patchrerank.images.read_mask` takes,
            or None; for ``views``, and for local descriptors.
        crop: ``none`` encodes the whole picture; ``box`` cuts each picture to its box first
            (pictures without a box stay whole). The choice is recorded in the result.
        views: compose each query's object on backgrounds, and average; None: the picture alone;
            :class:`patchrerank.types.AutoViews`: so where that is possible.
        backgrounds: for ``views``: the gallery's.
        whitening: the gallery's whitening, if it has one; behind the mean over views.
        batch: pictures decoded at once.

    Raises:
        ImageError: a picture cannot be read.
        QueryError: a different number of boxes or masks than pictures; a mask that is empty or of
            another size than its picture.
        RegionError: a malformed box.
        SettingError: views without backgrounds.
        VectorError: a vector is all zeros, NaN or infinite; names the query.
    """
    if crop not in ("none", "box"):
        raise SettingError(f"query crop {crop!r} is unknown; use 'none' or 'box'")
    sources = held_sources(images)
    known, covers = query_boxes(boxes, len(sources)), query_masks(masks, len(sources))
    cuts = np.where(np.isnan(known) | (crop == "none"), WHOLE_IMAGE, known)
    seen = SeenQueries(sources, known, covers)
    vectors = np.zeros((len(sources), encoder.dim), dtype=np.float32)
    found: list[ViewSource] = []
    for start in range(0, len(sources), batch):
        part = slice(start, start + batch)
        auto = isinstance(views, AutoViews)
        if views is None or (auto and not views_apply(encoder, seen.part(part), views)):
            found += ["none"] * len(sources[part]) if auto else []
            with whose_vectors(query_name(sources, cuts), first=start):
                vectors[part] = _encode_batch(encoder, sources[part], cuts[part])
            continue
        if backgrounds is None:
            raise SettingError("query views need backgrounds=gallery.backgrounds")
        vectors[part], told = view_vectors(encoder, cuts[part], seen.part(part), views, backgrounds)
        found += told
    if views is not None and not isinstance(views, AutoViews):
        warn_of_no_object(seen, found)
    if whitening is not None:
        with whose_vectors(query_name(sources, cuts)):
            vectors = whitening.apply(vectors)
    return Queries(
        vectors=vectors,
        boxes=known if boxes is not None or crop == "box" else None,
        masks=covers if masks is not None else None,
        crop=crop,
        views=tuple(found),
        encoder=identity_of(encoder, whitening),
        images=sources,
        made_by=encoder.describe(),
    )


def encode_text_queries(
    encoder: Encoder, texts: Sequence[Text], whitening: Whitening | None = None
) -> Queries:
    """Encode queries in words into one global descriptor each; they have no picture and no box.

    Args:
        encoder: the gallery's encoder, with a text tower.
        texts: the queries.
        whitening: the gallery's whitening, if it has one.

    Raises:
        EncoderError: the encoder has no text tower, or it cannot be loaded.
        VectorError: a vector is all zeros, NaN or infinite.
    """
    from patchrerank.encoders import encode_texts

    vectors = encode_texts(encoder, texts)
    return Queries(
        vectors=vectors if whitening is None else whitening.apply(vectors),
        encoder=identity_of(encoder, whitening),
        made_by=encoder.describe(),
        texts=texts,
    )


def held_sources(images: Sequence[ImageSource]) -> list[HeldSource]:
    """Return query pictures that can be read more than once: of open files their bytes.

    Raises:
        QueryError: one picture where a sequence is expected.
        ImageError: an open file cannot be read.
    """
    single = isinstance(images, str | bytes | os.PathLike | Image.Image) or hasattr(images, "read")
    if single or not hasattr(images, "__iter__"):
        raise QueryError(f"expected a sequence of query pictures, got {shown(images)}")
    return [held_source(image) for image in images]


def query_name(images: Sequence[HeldSource], boxes: Floats) -> Callable[[int], str]:
    """Return what names a query by its number, picture and box in messages."""
    return lambda row: f"query {row}, {in_region(describe_source(images[row]), boxes[row])}"


def query_boxes(boxes: Sequence[npt.ArrayLike | None] | None, count: int) -> Floats:
    """Return the boxes of ``count`` query pictures, float32 ``(count, 4)``, NaN where unknown.

    Raises:
        QueryError: another number of boxes.
        RegionError: a malformed box.
    """
    if boxes is None:
        return np.tile(NO_BOX, (count, 1))
    if len(boxes) != count:
        raise QueryError(f"{count} query pictures but {len(boxes)} boxes; give None for unknown")
    rows = [NO_BOX if box is None else _query_box(number, box) for number, box in enumerate(boxes)]
    return np.array(rows, dtype=np.float32).reshape(count, 4)


def query_masks(masks: Sequence[Any] | None, count: int) -> list[Any]:
    """Return the masks of ``count`` query pictures as they were given, None where there is none.

    Raises:
        QueryError: another number of masks.
    """
    covers: list[Any] = [None] * count if masks is None else list(masks)
    if len(covers) != count:
        raise QueryError(
            f"{count} query pictures but {len(covers)} masks; give None where there is none"
        )
    return [held_source(mask) if hasattr(mask, "read") else mask for mask in covers]


def _query_box(number: int, box: npt.ArrayLike) -> Floats:
    """Return a box that is known; one with NaN is not."""
    try:
        sides = np.asarray(box, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise RegionError(
            f"query {number}: a box is four numbers x0, y0, x1, y1, not {shown(box)}"
        ) from error
    unknown = sides.shape == (4,) and np.isnan(sides).any()
    return NO_BOX if unknown else check_boxes(sides[None], f"query {number}")[0]


def _encode_batch(encoder: Encoder, images: Sequence[HeldSource], cuts: Floats) -> Floats:
    crops = [query_crop(encoder, image, cut) for image, cut in zip(images, cuts, strict=True)]
    return encoder.encode(np.concatenate(crops))
