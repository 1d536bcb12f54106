"""What a stage's text and its surroundings hold for the reranker that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchrerank.gallery import Gallery
from patchrerank.images import ImageSource
from patchrerank.types import QueryCrop

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, Encoder


@dataclass(frozen=True)
class StageParts:
    """Everything that :meth:`patchrerank.rerankers.Reranker.from_stage` may make use of.

    Attributes:
        gallery: where the candidates' local evidence lies.
        encoder: of query pictures; None for ready vectors.
        dense_encoder: makes the local descriptors of query pictures.
        query_crop: what is done with a query's box before its global vector is encoded.
        images: ``{gallery id: picture}``; None: the files the gallery was built from.
        checkpoint: the file behind ``@`` in the stage's text; empty if none is named.
    """

    gallery: Gallery
    encoder: Encoder | None = None
    dense_encoder: DenseEncoder | None = None
    query_crop: QueryCrop = "none"
    images: Mapping[str, ImageSource] | None = None
    checkpoint: str = ""
