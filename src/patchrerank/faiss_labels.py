"""Labels of a faiss index: the owner's, or the numbers of its vectors."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError

Labels: TypeAlias = npt.NDArray[np.int64]

WITHIN = {
    "IndexHNSWFlat": "storage",
    "IndexHNSWSQ": "storage",
    "IndexHNSWPQ": "storage",
    "IndexNSGFlat": "storage",
    "IndexNSGSQ": "storage",
    "IndexNSGPQ": "storage",
    "IndexRefineFlat": "refine_index",
    "IndexIDMap": "index",
    "IndexIDMap2": "index",
    "IndexPreTransform": "index",
}
"""Indexes around another one that holds the vectors."""

LABELLED = ("IndexIDMap", "IndexIDMap2")


def own_labels(index: Any) -> Labels | None:
    """Return the labels of an index, int64 ``(n,)``; None: they are the numbers 0 … n−1.

    Raises:
        GalleryError: there are not as many labels as vectors.
    """
    labels = held_labels(index)
    return None if np.array_equal(np.sort(labels), np.arange(len(labels))) else labels


def held_labels(index: Any) -> Labels:
    """Return the labels of an index, int64 ``(n,)``, in the order in which it holds its vectors.

    Raises:
        GalleryError: there are not as many as vectors.
    """
    name = type(index).__name__
    if name == "IndexPreTransform":
        return held_labels(inner_index(index))
    if name in LABELLED:
        return _outer_labels(index)[held_labels(inner_index(index))]
    if hasattr(index, "invlists"):
        parts = [list_labels(index, number) for number in range(index.nlist)]
        return np.concatenate([np.empty(0, dtype=np.int64), *parts])
    return np.arange(index.ntotal, dtype=np.int64)


def inner_index(index: Any) -> Any:
    """Return the index within one of ``WITHIN``, of its own class."""
    import faiss

    return faiss.downcast_index(getattr(index, WITHIN[type(index).__name__]))


def _outer_labels(index: Any) -> Labels:
    """Return the labels of an ``IDMap``, int64 ``(n,)``, by the label within it."""
    import faiss

    labels: Labels = faiss.vector_to_array(index.id_map)
    if len(labels) != index.ntotal:
        raise GalleryError(f"the index has {len(labels)} labels for {index.ntotal} vectors")
    return labels


def list_labels(index: Any, number: int) -> Labels:
    """Return the labels in one list of an IVF, int64 ``(n,)``."""
    import faiss

    size = index.invlists.list_size(number)
    if not size:
        return np.empty(0, dtype=np.int64)
    return np.array(faiss.rev_swig_ptr(index.invlists.get_ids(number), size), dtype=np.int64)
