"""Queries as callers pass them: pictures of any kind, or ready vectors of any kind."""

from __future__ import annotations

import array
import os
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchrerank.errors import QueryError, shown
from patchrerank.images import ImageSource
from patchrerank.search_results import plain_list
from patchrerank.streams import EXPECTED
from patchrerank.types import Floats, Queries

Query: TypeAlias = ImageSource | npt.NDArray[np.floating] | Sequence[float]

VECTORS = "a ready vector (numpy array, torch tensor, list of numbers)"


def query_list(queries: Any) -> list[Query]:
    """Return a batch of queries as a list.

    Raises:
        QueryError: it is one query, or nothing that has entries.
    """
    if type(queries) is list:
        return queries
    single = isinstance(queries, str | bytes | os.PathLike | Image.Image) or hasattr(
        queries, "read"
    )
    if single or not hasattr(queries, "__iter__"):
        raise QueryError(f"queries: expected a sequence of queries, got {shown(queries)}")
    return list(queries)


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
    for number, vector in enumerate(vectors):
        if vector.shape != (dim,):
            size = "×".join(map(str, vector.shape))
            raise QueryError(
                f"query {number} is an array of {size} numbers, expected a vector of {dim} "
                "dimensions (pass pictures as paths, bytes or PIL images)"
            )
        norm = float(np.dot(vector, vector)) ** 0.5
        if norm == 0.0:
            raise QueryError(
                f"query {number} is a vector of zeros, which has no direction to compare; encode "
                "it again"
            )
        if abs(norm - 1.0) > 0.01 and np.isfinite(norm):
            raise QueryError(
                f"query {number} is a vector of norm {norm:.4g}; pass it L2-normalised "
                "(vector / numpy.linalg.norm(vector)), since scores are cosines"
            )
    return Queries(np.array(vectors, dtype=np.float32).reshape(len(vectors), dim))


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
        return values.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise QueryError(
            f"query {number} is {shown(query)}; a query vector must hold numbers (several queries "
            "at once go to rank_batch)"
        ) from error
