"""Local descriptors of queries: of their box or mask, at a size of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import WHOLE_IMAGE
from patchrerank.errors import QueryError, whose_vectors
from patchrerank.gallery.backgrounds import Backgrounds
from patchrerank.gallery.queries import held_sources, query_boxes, query_name
from patchrerank.gallery.query_views import SeenQueries, composed_queries
from patchrerank.images import HeldSource, ImageSource, read_image
from patchrerank.types import LocalDescriptors, LocalQueries, QueryViews

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, QueryPart


def encode_local_queries(
    encoder: DenseEncoder,
    images: Sequence[ImageSource],
    boxes: Sequence[npt.ArrayLike | None] | None = None,
    masks: Sequence[npt.ArrayLike | None] | None = None,
    *,
    image_size: int | tuple[int, int] | None = None,
    scales: Sequence[float] | None = None,
    count: int | None = None,
    part: QueryPart | None = None,
) -> LocalQueries:
    """Return the local descriptors of query pictures, strongest first.

    The whole picture is encoded, then cut to its box or mask (``restrict``), and only then to
    the strongest. The scale at which a query is seen matters: a query whose object fills the
    picture is best encoded smaller than the gallery, so that it looks as large as there.

    Args:
        encoder: the dense encoder of the gallery's local store.
        images: Q paths, file bytes, open binary files or pictures.
        boxes: where the object is, ``x0, y0, x1, y1`` in [0, 1] each, or None.
        masks: bool ``(H, W)`` each over the upright picture, or None.
        image_size: side, or (height, width), in pixels; None: the encoder's own.
        scales: factors on it; None: the encoder's own.
        count: the most descriptors of a query; None: the count of the encoder's selection.
        part: which part of a picture is searched for (see
            :class:`patchrerank.encoders.Selection`); None: the encoder's own.

    Raises:
        ImageError: a picture cannot be read.
        QueryError: another number of boxes or masks than of pictures, or a malformed mask.
        RegionError: a malformed box.
        VectorError: descriptors are NaN or infinite; names the query.
    """
    from patchrerank.encoders.picking import take

    sources = held_sources(images)
    known = query_boxes(boxes, len(sources))
    covers = list(masks) if masks is not None else [None] * len(sources)
    if len(covers) != len(sources):
        raise QueryError(
            f"{len(sources)} query pictures but {len(covers)} masks; give None where there is none"
        )
    most = encoder.selection.count if count is None else count
    everything = replace(encoder.selection, count=None)
    sized = encoder.resized(image_size, scales=scales, selection=everything)
    wanted = encoder.selection.query_part if part is None else part
    with whose_vectors(query_name(sources, np.tile(WHOLE_IMAGE, (len(sources), 1)))):
        found = sized.encode_images(sources)
    parts = [
        take(_part_of(*query, wanted), np.s_[:most])
        for query in zip(sources, found, known, covers, strict=True)
    ]
    return LocalQueries(parts, sized.identity, sized.sizes)


def encode_local_views(
    encoder: DenseEncoder,
    seen: SeenQueries,
    views: QueryViews,
    backgrounds: Backgrounds,
) -> LocalQueries:
    """Return the local descriptors of queries' views, of their objects alone.

    Of each query those of all of its views, view by view, each strongest first and cut to the
    encoder's ``selection.count``; none of a query without an object. Positions are those in the
    view, and a weight tells the strength within it.

    Args:
        encoder: the dense encoder of the gallery's local store, at the size of a view.
        seen: the queries, with boxes and masks.
        views: how they are composed, as for the global vector, but on a whole canvas.
        backgrounds: of the gallery.

    Raises:
        ImageError, QueryError: see :func:`patchrerank.gallery.composed_queries`.
        VectorError: descriptors are NaN or infinite; names the query.
    """
    from PIL import Image

    from patchrerank.encoders.picking import joined, restrict, take

    sized = encoder.resized(selection=replace(encoder.selection, count=None))
    found: list[LocalDescriptors] = []
    made = composed_queries(seen, views, backgrounds, encoder.sizes[0])
    for number, one in enumerate(made):
        pictures = [] if one.views is None else list(one.views.pictures)
        covers = [] if one.views is None else list(one.views.covers)
        with whose_vectors([seen.name(number)].__getitem__):
            every = sized.encode([sized.prepare(Image.fromarray(picture)) for picture in pictures])
        parts = [
            take(restrict(view, mask=cover > 0.5), np.s_[: encoder.selection.count])
            for view, cover in zip(every, covers, strict=True)
        ]
        found.append(joined(parts, encoder.dim))
    return LocalQueries(found, sized.identity, sized.sizes)


def _part_of(
    image: HeldSource,
    descriptors: LocalDescriptors,
    box: npt.ArrayLike | None,
    mask: npt.ArrayLike | None,
    part: QueryPart,
) -> LocalDescriptors:
    from patchrerank.encoders.foreground import foreground_mask
    from patchrerank.encoders.picking import restrict

    if part == "all":
        return descriptors
    if part == "foreground" and mask is None:
        mask = foreground_mask(read_image(image))
    return restrict(descriptors, box, mask, salient=part == "salient")
