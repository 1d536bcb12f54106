"""What methods that are measured on a data set share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.encoders import QueryPart, Selection
from patchrerank.encoders.preprocessing import check_image_size
from patchrerank.gallery import BuildOptions
from patchrerank.metrics import APConvention
from patchrerank.pipeline.query_encoders import QUERY_SIZE
from patchrerank.regions import GridPyramid, Regions
from patchrerank.types import QueryCrop, QueryViews
from patchrerank.types.text import AS_GIVEN, checked_templates

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder

LOCAL_SIZE = 448
"""Side of the gallery's pictures for local descriptors."""


@dataclass(frozen=True)
class LocalSettings:
    """How local descriptors are made, where a method compares any.

    Attributes:
        image_size: side, or (height, width), in pixels of the gallery's pictures; None: that of
            a tuned cascade, else 448.
        query_image_size: likewise of the query pictures. A tuned cascade has its own.
        query_part: which of a query's are kept (:class:`patchrerank.encoders.Selection`). A tuned
            cascade has its own.
        encoder: makes them, in place of one with the network of the global vectors, and at its
            own image size.

    Raises:
        EncoderError: an impossible size.
        SettingError: an unknown part.
    """

    image_size: int | tuple[int, int] | None = None
    query_image_size: int | tuple[int, int] = QUERY_SIZE
    query_part: QueryPart = "box"
    encoder: DenseEncoder | None = None

    def __post_init__(self) -> None:
        Selection(query_part=self.query_part)
        for size in (self.image_size, self.query_image_size):
            if size is not None:
                check_image_size(size)


@dataclass(frozen=True)
class EvaluationSettings:
    """What all methods share.

    Attributes:
        regions: where patches are cut.
        query_crop: ``none`` (whole query picture) or ``box``; None takes the data set's own. A
            tuned cascade has its own.
        query_views: how the queries' objects are composed on the gallery's backgrounds; None: they
            are not. A tuned cascade has its own, and so may a method.
        first_stage: faiss factory string over the global vectors.
        convention: how average precision is computed; None takes the data set's own.
        local: how local descriptors are made.
        build: how the gallery is built.
        templates: what the words of queries in words are put into (:class:`patchrerank.Text`).
    """

    regions: Regions = field(default_factory=lambda: GridPyramid(3))
    query_crop: QueryCrop | None = None
    first_stage: str = "Flat"
    convention: APConvention | None = None
    local: LocalSettings = field(default_factory=LocalSettings)
    build: BuildOptions = field(default_factory=BuildOptions)
    templates: Sequence[str] = AS_GIVEN
    query_views: QueryViews | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "templates", checked_templates(self.templates))


@contextmanager
def cache_folder(cache: str | Path | None) -> Iterator[Path]:
    """Give the folder where galleries are kept; None: one that is deleted at the end."""
    if cache is not None:
        yield Path(cache)
        return
    with tempfile.TemporaryDirectory(prefix="patchrerank-") as scratch:
        yield Path(scratch)
