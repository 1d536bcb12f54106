"""The vectors of queries that are seen in several views: encoded in one go, and averaged."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakSet

import numpy as np

from patchrerank.boxes import Floats
from patchrerank.errors import SettingError, whose_vectors
from patchrerank.gallery.backgrounds import Backgrounds
from patchrerank.gallery.query_views import ComposedQuery, SeenQueries, composed_queries
from patchrerank.images import HeldSource, read_image
from patchrerank.types import QueryViews, ViewSource

if TYPE_CHECKING:
    from patchrerank.encoders import ComposedViews, Encoder, MaskPooling
    from patchrerank.encoders.preprocessing import Crops

logger = logging.getLogger(__name__)

_met_objects: WeakSet[Encoder] = WeakSet()
"""Encoders of queries some of which had objects."""


def view_vectors(
    encoder: Encoder,
    cuts: Floats,
    seen: SeenQueries,
    views: QueryViews,
    backgrounds: Backgrounds,
) -> tuple[Floats, tuple[ViewSource, ...]]:
    """Encode queries with their views, all of them in one go, and average.

    A vector is the mean of those of the query as it is and of its views, each of unit norm,
    normalised again. Where the encoder averages a feature map, those of views are averaged under
    the object alone. A query without an object is encoded as it is.

    Args:
        encoder: of the gallery.
        cuts: float32 ``(Q, 4)``, what of a picture the query as it is shows.
        seen: the queries.
        views: how they are composed.
        backgrounds: of the gallery.

    Returns:
        float32 ``(Q, dim)``, unit norm, not whitened; and what told each object from its ground.

    Raises:
        SettingError: no backgrounds are asked for, and the encoder averages no feature map.
    """
    from patchrerank.encoders import mask_pooling_of

    plain, share = bool(views.backgrounds), views.canvas if views.backgrounds else 1.0
    pooling = mask_pooling_of(encoder, share)
    if pooling is None and not views.backgrounds:
        raise SettingError(
            f"query views of 0 backgrounds average the feature map under the object, and the "
            f"vectors of {encoder.spec} are not made from such a mean; use 2 backgrounds or more"
        )
    whole = encoder.preprocessing.image_size
    size = whole if pooling is None else pooling.image_size
    threads = _threads()
    composed = composed_queries(seen, views, backgrounds, size, whole, threads=threads)
    made = list(_shown(encoder, cuts, composed, plain))
    vectors = np.zeros((len(seen), encoder.dim), dtype=np.float32)
    without = [number for number, one in enumerate(made) if one.views is None]
    if without:  # encoded as they are without views, to the bit
        crops = [query_crop(encoder, seen.images[number], cuts[number]) for number in without]
        with whose_vectors(lambda row: seen.name(without[row])):
            vectors[without] = encoder.encode(np.concatenate(crops))
    asked = [number for number, one in enumerate(made) if one.views is not None]
    if asked:
        named = [seen.name(number) for number in asked]
        vectors[asked] = _averaged(encoder, pooling, [made[number] for number in asked], named)
    return vectors, tuple(one.source for one in made)


def views_apply(encoder: Encoder, seen: SeenQueries, views: QueryViews) -> bool:
    """Tell whether any of some queries has an object, and the encoder averages a feature map.

    The network that returns maps is loaded when the first object comes, not for scenes.

    Raises:
        ImageError: a picture cannot be read.
        QueryError: a mask does not fit its picture.
    """
    from patchrerank.encoders import mask_pooling_of

    if encoder not in _met_objects:
        if all(seen.object(number, views)[1] is None for number in range(len(seen))):
            return False
        _met_objects.add(encoder)
    return mask_pooling_of(encoder, views.canvas) is not None


def query_crop(encoder: Encoder, image: HeldSource, cut: Floats) -> Crops:
    """Return what of a query picture is encoded, as a crop: uint8 ``(1, H, W, 3)``.

    Raises:
        ImageError: it cannot be read.
    """
    side = float(min(cut[2] - cut[0], cut[3] - cut[1]))
    picture = read_image(image, min_size=encoder.preprocessing.least_size(side))
    return encoder.preprocessing.prepare(picture, cut[None])


def warn_of_no_object(seen: SeenQueries, sources: Sequence[ViewSource]) -> None:
    """Log which queries have no object that could be composed."""
    without = [number for number, source in enumerate(sources) if source == "none"]
    if without:
        logger.warning(
            "query views do nothing for %d of %d queries: they have no mask, no transparency, no "
            "plain background and no box that would tell the object from its ground (the first is "
            "%s)",
            len(without),
            len(seen),
            seen.name(without[0]),
        )


@dataclass(frozen=True)
class _Asked:
    """What is encoded of one query: the crop of it as it is, if that counts, and its views."""

    source: ViewSource
    plain: list[Crops]
    views: ComposedViews | None


def _shown(
    encoder: Encoder, cuts: Floats, queries: Iterable[ComposedQuery], plain: bool
) -> Iterator[_Asked]:
    """Yield what is encoded of composed queries; their pictures are let go."""
    for one, cut in zip(queries, cuts, strict=True):
        asked = plain and one.views is not None
        crops = [encoder.preprocessing.prepare(one.picture, cut[None])] if asked else []
        yield _Asked(one.source, crops, one.views)


def _averaged(
    encoder: Encoder, pooling: MaskPooling | None, asked: list[_Asked], names: list[str]
) -> Floats:
    """Return the mean vector of each query, float32 ``(len(asked), dim)``, unit norm."""
    from patchrerank.encoders.normalise import normalise_rows

    views = [one.views for one in asked if one.views is not None]
    counts = [len(one) for one in views]
    owners = np.repeat(np.arange(len(asked)), counts)
    pictures = np.concatenate([one.pictures for one in views])
    with whose_vectors(lambda row: names[owners[row]]):
        if pooling is None:
            found = encoder.encode(pictures)
        else:
            found = pooling.encode(pictures, np.concatenate([one.covers for one in views]))
    sums = np.add.reduceat(found, np.cumsum([0, *counts[:-1]]), axis=0)
    if asked[0].plain:
        with whose_vectors(names.__getitem__):
            sums += encoder.encode(np.concatenate([crop for one in asked for crop in one.plain]))
    return normalise_rows(sums, "query views")


def _threads() -> int:
    """Return how many threads the encoder may use."""
    import torch

    return torch.get_num_threads()
