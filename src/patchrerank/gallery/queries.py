"""Encoding queries the way a gallery was encoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchrerank.boxes import NO_BOX, WHOLE_IMAGE, Floats, check_boxes, in_region
from patchrerank.errors import QueryError, RegionError, SettingError, shown, whose_vectors
from patchrerank.gallery.identity import identity_of
from patchrerank.images import (
    HeldSource,
    ImageSource,
    describe_source,
    held_source,
    read_image,
)
from patchrerank.types import Queries, QueryCrop, Text

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder, Whitening


def encode_queries(
    encoder: Encoder,
    images: Sequence[ImageSource],
    *,
    boxes: Sequence[npt.ArrayLike | None] | None = None,
    crop: QueryCrop = "none",
    whitening: Whitening | None = None,
    batch: int = 32,
) -> Queries:
    """Encode query pictures into one global descriptor each.

    Args:
        encoder: the gallery's encoder.
        images: paths, file bytes, open binary files or pictures.
        boxes: where the object is in each picture, ``x0, y0, x1, y1`` in [0, 1], or None.
        crop: ``none`` encodes the whole picture; ``box`` cuts each picture to its box first
            (pictures without a box stay whole). The choice is recorded in the result.
        whitening: the gallery's whitening, if it has one.
        batch: pictures decoded at once.

    Raises:
        ImageError: a picture cannot be read.
        QueryError: a different number of boxes than pictures.
        RegionError: a malformed box.
        VectorError: a vector is all zeros, NaN or infinite; names the query.
    """
    if crop not in ("none", "box"):
        raise SettingError(f"query crop {crop!r} is unknown; use 'none' or 'box'")
    sources = held_sources(images)
    known = query_boxes(boxes, len(sources))
    cuts = np.where(np.isnan(known) | (crop == "none"), WHOLE_IMAGE, known)
    vectors = np.zeros((len(sources), encoder.dim), dtype=np.float32)
    for start in range(0, len(sources), batch):
        part = slice(start, start + batch)
        with whose_vectors(query_name(sources, cuts), first=start):
            vectors[part] = _encode_batch(encoder, sources[part], cuts[part])
    if whitening is not None:
        with whose_vectors(query_name(sources, cuts)):
            vectors = whitening.apply(vectors)
    return Queries(
        vectors=vectors,
        boxes=known if boxes is not None or crop == "box" else None,
        crop=crop,
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
    crops = []
    for image, cut in zip(images, cuts, strict=True):
        side = float(min(cut[2] - cut[0], cut[3] - cut[1]))
        picture = read_image(image, min_size=encoder.preprocessing.least_size(side))
        crops.append(encoder.preprocessing.prepare(picture, cut[None]))
    return encoder.encode(np.concatenate(crops))
