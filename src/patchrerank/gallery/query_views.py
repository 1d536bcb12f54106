"""Queries seen in several views: their object on backgrounds of the gallery's pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.boxes import NO_BOX, Floats
from patchrerank.errors import QueryError
from patchrerank.gallery.backgrounds import Backgrounds
from patchrerank.images import (
    HeldSource,
    Mask,
    alpha_mask,
    describe_source,
    read_image,
    read_mask,
    upright_size,
)
from patchrerank.types import QueryViews, ViewSource

if TYPE_CHECKING:
    from PIL import Image

    from patchrerank.encoders import ComposedViews, QueryObject

LEAST_SIDE = 448


@dataclass(frozen=True)
class SeenQueries:
    """Query pictures, and where their objects are.

    Attributes:
        images: Q pictures that can be read more than once.
        boxes: float32 ``(Q, 4)`` in [0, 1], NaN where unknown.
        masks: of each: what :func:`patchrerank.images.read_mask` takes, or None.
        first: the number of the first, for messages.
    """

    images: Sequence[HeldSource]
    boxes: Floats
    masks: Sequence[Any]
    first: int = 0

    def __len__(self) -> int:
        return len(self.images)

    def name(self, number: int) -> str:
        """Return what messages call a query."""
        return f"query {self.first + number}, {describe_source(self.images[number])}"

    def part(self, part: slice) -> SeenQueries:
        """Return some of them."""
        return SeenQueries(
            self.images[part], self.boxes[part], self.masks[part], self.first + (part.start or 0)
        )

    def mask(self, number: int) -> Mask | None:
        """Return a query's mask, checked against its picture.

        Raises:
            QueryError: of another size, or empty.
        """
        mask = self.masks[number]
        if mask is None:
            return None
        return read_mask(mask, upright_size(self.images[number]), self.name(number))

    def object(
        self, number: int, views: QueryViews, side: int = LEAST_SIDE
    ) -> tuple[Image.Image, QueryObject | None]:
        """Return a query's picture and its object, None where nothing tells it from its ground.

        Args:
            number: of the query.
            views: how it is composed.
            side: pixels of the object's box to which a JPEG must be decoded at least.

        Raises:
            ImageError: the picture cannot be read.
            QueryError: its mask does not fit.
        """
        from patchrerank.encoders import find_object

        image, box = self.images[number], self.boxes[number]
        known = not np.isnan(box).any()
        share = float(min(box[2] - box[0], box[3] - box[1])) if known else 1.0
        least = math.ceil(side / share)
        mask = self.mask(number)
        picture = read_image(image, min_size=(least, least))
        alpha = alpha_mask(image) if mask is None else None
        try:
            return picture, find_object(picture, views, box=box, mask=mask, alpha=alpha)
        except QueryError as error:
            raise QueryError(f"{self.name(number)}: {error}") from error


def read_masks(images: Sequence[HeldSource], masks: Sequence[Any]) -> list[Mask | None]:
    """Return the masks of query pictures, each checked against its picture; None stays None.

    Raises:
        QueryError: one is of another size, or empty.
    """
    seen = SeenQueries(images, np.tile(NO_BOX, (len(images), 1)), masks)
    return [seen.mask(number) for number in range(len(seen))]


@dataclass(frozen=True, eq=False)
class ComposedQuery:
    """A query as it is, and its object before backgrounds.

    Attributes:
        picture: the query, upright RGB, decoded at the size that its object needs.
        source: what told its object from its ground.
        views: None: there is no object.
    """

    picture: Image.Image
    source: ViewSource
    views: ComposedViews | None


def composed_queries(
    seen: SeenQueries,
    views: QueryViews,
    backgrounds: Backgrounds,
    size: tuple[int, int],
    whole: tuple[int, int] | None = None,
    *,
    threads: int = 1,
) -> Iterator[ComposedQuery]:
    """Compose queries one after another; each picture is decoded when it is its turn.

    Args:
        seen: the queries.
        views: how they are composed.
        backgrounds: of the gallery.
        size: (height, width) of a view in pixels.
        whole: of the pictures that the encoder sees otherwise, in which the object would be as
            large; None: a view's.
        threads: that draw.

    Raises:
        ImageError: a picture cannot be read.
        QueryError: a mask does not fit its picture.
    """
    from patchrerank.encoders import compose_views

    grounds = backgrounds.sized(size) if views.backgrounds else backgrounds.mean(size)[None]
    side = max(LEAST_SIDE, 2 * max(size))
    share = math.sqrt(math.prod(size) / math.prod(whole or size))
    for number in range(len(seen)):
        picture, found = seen.object(number, views, side)
        if found is None:
            yield ComposedQuery(picture, "none", None)
        else:
            made = compose_views(found, grounds, views, share=share, threads=threads)
            yield ComposedQuery(picture, found.source, made)
