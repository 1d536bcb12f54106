"""The front door: from a gallery and stages to something that reranks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from patchrerank.encoders.backends.torch_eager import check_device
from patchrerank.encoders.preprocessing import check_image_size
from patchrerank.errors import SettingError, check_kind
from patchrerank.gallery import Gallery
from patchrerank.images import ImageSource
from patchrerank.pipeline.cascade import Cascade, Stage
from patchrerank.pipeline.query_encoders import QueryEncoders
from patchrerank.pipeline.recipe import DEFAULT_STAGES, Recipe
from patchrerank.pipeline.stages import make_cascade
from patchrerank.pipeline.tuned import Tuned
from patchrerank.records import read_json
from patchrerank.types import AUTO_VIEWS, QueryCrop, QueryViews

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder, QueryPart

Stages: TypeAlias = str | os.PathLike[str] | Sequence[Stage] | Recipe | Tuned


def load_reranker(
    gallery: str | os.PathLike[str] | Gallery,
    stages: Stages = DEFAULT_STAGES,
    *,
    encoder: Encoder | None = None,
    device: str = "auto",
    query_crop: QueryCrop | None = None,
    query_views: QueryViews | Literal["auto"] | None = "auto",
    query_size: int | tuple[int, int] | None = None,
    query_part: QueryPart | None = None,
    images: Mapping[str, ImageSource] | None = None,
) -> Cascade:
    """Open a gallery and make the reranker that works on it.

    Queries are encoded as the gallery's own record says (spec, image size, precision,
    whitening). The encoder is loaded when the first picture comes; ready vectors need none.

    Args:
        gallery: a gallery folder, or an open gallery.
        stages: one of

            - text, ``name[:K[:lam[:gamma]]]`` joined by commas, such as
              ``patchify+refine:400:0.3:4,chamfer:100:0.7:2`` (see
              :func:`patchrerank.pipeline.parse_stages`). The default rescores all candidates by
              their best patch, with λ = 0.1 and γ = 4;
            - the path of a ``tuned.json``, or of a recipe (text that ends in ``.json`` is a path,
              unless it begins with a reranker's name and ``@``);
            - a list of :class:`~patchrerank.pipeline.Stage`, on this gallery;
            - a :class:`~patchrerank.pipeline.Recipe` or :class:`~patchrerank.pipeline.Tuned`.
        encoder: one that is loaded already, in place of the gallery's own; its identity must be
            the gallery's.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:<number>`` or ``mps``, of the encoder.
        query_crop: what is done with a query's box before its global vector is encoded: ``none``
            (default) or ``box``.
        query_views: compose the query's object on the gallery's backgrounds, and average the
            vectors; for objects on plain ground, or with a box or mask, that are searched in
            scenes. None: no views. ``auto`` (default): as a file, a recipe or given stages say;
            of text two views (:class:`patchrerank.types.AutoViews`), where that is possible.
        query_size: side, or (height, width), in pixels of query pictures for local descriptors;
            default 224.
        query_part: which local descriptors of a query are kept: ``box`` (default),
            ``foreground``, ``salient`` or ``all``.
        images: ``{gallery id: picture}``, for rerankers that look at the pictures again; None:
            the files the gallery was built from.

    Returns:
        A cascade: ``rank(query, ids, scores)`` gives hits, best first.

    Raises:
        GalleryError: there is no gallery, it is damaged, or it keeps no backgrounds for views.
        SettingError: malformed or unknown stages; ``query_…`` beside a file or recipe that
            decides them; something of the wrong type.
        QueryError: the encoder is not the gallery's.
        EncoderError: an unknown device, or an impossible size.
    """
    check_kind("images", images, Mapping, "a mapping, {gallery id: picture}")
    check_device(device)
    opened = gallery if isinstance(gallery, Gallery) else Gallery(gallery)
    size = None if query_size is None else check_image_size(query_size)
    auto = isinstance(query_views, str) and query_views == "auto"
    if not auto:
        check_kind(
            "query_views", query_views, QueryViews, "QueryViews(backgrounds=8), 'auto' or None"
        )
    asked = {
        "query_crop": query_crop,
        "query_views": None if auto else query_views,
        "query_size": size,
        "query_part": query_part,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if not isinstance(stages, str | os.PathLike | Recipe | Tuned):
        return _from_stages(opened, stages, encoder, device, given)
    recipe = _recipe(opened, stages, given)
    encoders = QueryEncoders(opened, encoder, device, recipe.query_size, recipe.query_part)
    made = make_cascade(
        recipe.stages,
        opened,
        query_crop=recipe.query_crop,
        images=images,
        calibration=recipe.calibration,
        encoders=encoders,
    )
    text = isinstance(stages, str) and not _names_file(stages)
    return made.with_query_views(AUTO_VIEWS if auto and text else recipe.query_views)


def _recipe(
    gallery: Gallery, stages: str | os.PathLike[str] | Recipe | Tuned, given: dict[str, Any]
) -> Recipe:
    """Return the recipe that text or a file names, or what was given."""
    if isinstance(stages, str) and not _names_file(stages):
        return Recipe.parse(stages, **given)
    made = stages if isinstance(stages, Recipe | Tuned) else read_recipe(stages)
    if given:
        source = stages if isinstance(stages, str | os.PathLike) else f"the {type(made).__name__}"
        raise SettingError(f"{source} decides {', '.join(given)}; leave them out")
    if isinstance(made, Recipe):
        return made
    made.check(gallery)
    return made.recipe


def read_recipe(path: str | os.PathLike[str]) -> Recipe | Tuned:
    """Read a file that a tuning run or :meth:`Recipe.save` wrote.

    Raises:
        SettingError: it is missing, no JSON, or damaged; names file and key.
    """
    content = read_json(Path(path))
    tuned = isinstance(content, dict) and "tuned_on" in content
    return Tuned.load(Path(path)) if tuned else Recipe.load(Path(path))


def _from_stages(
    gallery: Gallery,
    stages: Sequence[Stage],
    encoder: Encoder | None,
    device: str,
    given: dict[str, Any],
) -> Cascade:
    made = Cascade(stages)
    if made.gallery.place.resolve() != gallery.place.resolve():
        raise SettingError(
            f"the stages work on the gallery {made.gallery.folder}, not on {gallery.folder}"
        )
    if given.pop("query_crop", made.query_crop) != made.query_crop:
        raise SettingError(
            f"the stages were made with query_crop={made.query_crop!r}; leave query_crop out"
        )
    views = given.pop("query_views", made.query_views)
    encoders = QueryEncoders(made.gallery, encoder, device, **given)
    return Cascade(stages, encoders=encoders).with_query_views(views)


def _names_file(text: str) -> bool:
    """Tell a path from stages whose last names a file, ``pairs@endpoint.json``."""
    if not text.endswith(".json"):
        return False
    return Path(text).is_file() or not re.match(r"[\w-]+(\+refine)?(:[^@,]*)?(,|@)", text)
