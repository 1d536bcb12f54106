"""Queries as callers pass them: pictures of any kind, or ready vectors of any kind."""

from __future__ import annotations

import array
import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchrerank.errors import QueryError, shown
from patchrerank.gallery import Gallery, encode_queries, encode_text_queries
from patchrerank.gallery.identity import loading_call
from patchrerank.images import ImageSource
from patchrerank.search_results import plain_list
from patchrerank.streams import EXPECTED
from patchrerank.types import Floats, Queries, QueryCrop, QueryViews, Text

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

logger = logging.getLogger(__name__)

Query: TypeAlias = ImageSource | npt.NDArray[np.floating] | Sequence[float] | Text

UNIT = 0.01
"""By how much the norm of a ready vector may differ from 1."""

VECTORS = "a ready vector (numpy array, torch tensor, list of numbers), or Text(words)"


def query_list(queries: Any) -> list[Query]:
    """Return a batch of queries as a list.

    Raises:
        QueryError: it is one query, or nothing that has entries.
    """
    if type(queries) is list:
        return queries
    single = isinstance(queries, str | bytes | os.PathLike | Image.Image | Text) or hasattr(
        queries, "read"
    )
    if single or not hasattr(queries, "__iter__"):
        raise QueryError(f"queries: expected a sequence of queries, got {shown(queries)}")
    return list(queries)


def encode_given(
    queries: Sequence[Query],
    boxes: Sequence[npt.ArrayLike | None] | None,
    masks: Sequence[Any] | None,
    gallery: Gallery,
    crop: QueryCrop,
    views: QueryViews | None,
    encoder: Callable[[], Encoder | None],
) -> Queries:
    """Encode pictures or words as a gallery was encoded; pass ready vectors through.

    Args:
        queries: all of one kind.
        boxes: where the object is in each picture, in [0, 1], or None.
        masks: where it is, more exactly, or None.
        gallery: whose vectors they are compared with.
        crop: what is done with the box.
        views: how objects are composed on the gallery's backgrounds; None: they are not. Words and
            ready vectors have none.
        encoder: loads what encodes them; called if that is needed.

    Raises:
        QueryError: pictures or words without an encoder; kinds mixed; words with a box; a mask
            without a picture.
        GalleryError: views, and the gallery keeps no backgrounds.
        EncoderError: words for an encoder without a text tower.
    """
    masked = masks is not None and any(mask is not None for mask in masks)
    if texts := _texts(queries):
        if boxes is not None and any(box is not None for box in boxes):
            raise QueryError("a query in words has no picture, and so no box; leave the box out")
        if masked:
            raise QueryError("a query in words has no picture, and so no mask; leave the mask out")
        found = _needed(encoder(), gallery, "words")
        return encode_text_queries(found, texts, gallery.whitening)
    pictures, vectors = pictures_and_vectors(queries)
    if not pictures:
        if masked:
            raise QueryError("a ready vector has no picture, and so no mask; leave the mask out")
        return ready_queries(vectors, gallery.dim)
    if crop == "box" and (boxes is None or all(box is None for box in boxes)):
        logger.warning(
            "query_crop='box' cuts queries to their boxes, but none of %d has one: encoded whole",
            len(pictures),
        )
    found = _needed(encoder(), gallery, "a picture")
    return encode_queries(
        found,
        pictures,
        boxes=boxes,
        masks=masks,
        crop=crop,
        views=views,
        backgrounds=None if views is None else gallery.backgrounds,
        whitening=gallery.whitening,
    )


def _needed(encoder: Encoder | None, gallery: Gallery, what: str) -> Encoder:
    """Refuse to do without an encoder.

    Raises:
        QueryError: says how to give one.
    """
    if encoder is None:
        raise QueryError(
            f"the query is {what} but this reranker has no encoder; make it with "
            f"load_reranker({str(gallery.folder)!r}), which opens the gallery's own, or "
            f"with encoder={loading_call(gallery.manifest.encoder)}, or pass the query's vector"
        )
    return encoder


def _texts(queries: Sequence[Query]) -> list[Text]:
    """Return queries in words; none where there are only pictures and vectors.

    Raises:
        QueryError: a batch holds words and others.
    """
    texts = [query for query in queries if isinstance(query, Text)]
    if texts and len(texts) < len(queries):
        raise QueryError(
            "a batch holds queries in words, and pictures or ready vectors; pass them separately"
        )
    return texts


def pictures_and_vectors(queries: Sequence[Query]) -> tuple[list[ImageSource], list[Floats]]:
    """Tell pictures from ready vectors; one of the two lists is empty.

    Raises:
        QueryError: a query is neither, or the batch holds both.
    """
    pictures: list[ImageSource] = []
    vectors: list[Floats] = []
    for number, query in enumerate(query_list(queries)):
        if _is_picture(query):
            pictures.append(query)
        else:
            vectors.append(_vector(number, query))
    if pictures and vectors:
        raise QueryError("a batch holds pictures and ready vectors; pass them separately")
    return pictures, vectors


def ready_queries(vectors: Sequence[Floats], dim: int) -> Queries:
    """Return ready vectors as queries.

    Raises:
        QueryError: another shape than ``(dim,)``, all zeros, or not of unit norm.
    """
    plain = True
    for number, vector in enumerate(vectors):
        if vector.shape != (dim,):
            size = "×".join(map(str, vector.shape))
            raise QueryError(
                f"query {number} is an array of {size} numbers, expected a vector of {dim} "
                "dimensions (pass pictures as paths, bytes or PIL images; vectors for a whitened "
                "gallery as gallery.whitening.apply gives them)"
            )
        if is_unit(vector):
            continue
        plain = False
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        if norm == 0.0:
            raise QueryError(
                f"query {number} is a vector of zeros, which has no direction to compare; encode "
                "it again"
            )
        if abs(norm - 1.0) > UNIT and np.isfinite(norm):
            raise QueryError(
                f"query {number} is a vector of norm {norm:.4g}; pass it L2-normalised "
                "(vector / numpy.linalg.norm(vector)), since scores are cosines"
            )
    found = np.array(vectors, dtype=np.float32).reshape(len(vectors), dim)
    return Queries.trusted(found) if plain else Queries(found)


def is_unit(vector: Floats) -> bool:
    """Tell a vector ``(d,)`` of unit norm, all of whose numbers are finite."""
    with np.errstate(over="ignore"):  # a sum of squares beyond float32 is not 1
        return bool(abs(float(np.dot(vector, vector)) ** 0.5 - 1.0) <= UNIT)


def _is_picture(query: object) -> TypeGuard[ImageSource]:
    if type(query) is np.ndarray:
        return False
    kinds = (str, os.PathLike, bytes, bytearray, Image.Image)
    return isinstance(query, kinds) or hasattr(query, "read") or _is_file_in_memory(query)


def _is_file_in_memory(query: object) -> bool:
    return isinstance(query, memoryview) and query.itemsize == 1


def _vector(number: int, query: Any) -> Floats:
    """Return a vector of any kind as float32."""
    if type(query) is np.ndarray and query.dtype == np.float32:
        return query
    if hasattr(query, "detach"):  # a torch tensor, of any device and precision
        query = query.detach().cpu().float().numpy()
    elif hasattr(query, "to_pylist"):  # pyarrow
        query = plain_list(query)
    elif hasattr(query, "to_numpy"):  # pgvector, pandas, polars
        query = query.to_numpy()
    kinds = (list, tuple, array.array, memoryview, np.ndarray)
    if not isinstance(query, kinds) and not hasattr(query, "__array__"):
        raise QueryError(
            f"query {number} is {shown(query)}, a {type(query).__name__}; a query is {EXPECTED}, "
            f"or {VECTORS}"
        )
    try:
        values = np.asarray(query)
        if values.dtype.kind not in "iufO" or (values.dtype == object and None in values.flat):
            raise TypeError(f"could not convert {values.dtype}")
        with np.errstate(over="ignore"):  # infinite is an error that is told further on
            return values.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise QueryError(
            f"query {number} is {shown(query)}; a query vector must hold numbers (several queries "
            "at once go to rank_batch)"
        ) from error
