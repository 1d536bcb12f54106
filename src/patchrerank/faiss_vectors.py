"""Vectors and labels back out of a faiss index, where faiss can give them.

``reconstruct_batch`` is asked only of indexes that number their vectors 0 … n−1 and hold them in
one piece. Elsewhere giving vectors back ends the process (through an IDMap), leaves rows unwritten
(IVF with labels of its own) or follows a null pointer (fast scan IVF from a file); there the lists
themselves are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError, short_reason
from patchrerank.faiss_files import open_index
from patchrerank.faiss_labels import WITHIN, Labels, held_labels, inner_index

Vectors: TypeAlias = npt.NDArray[np.float32]
Blocks: TypeAlias = Iterator[tuple[Labels, Vectors]]

BLOCK = 1 << 16
"""Vectors in a block, at most."""

EXACT = ""
DECODED = {
    "IndexFlat": EXACT,
    "IndexFlatIP": EXACT,
    "IndexFlatL2": EXACT,
    "IndexScalarQuantizer": "decoded from scalar-quantised codes",
    "IndexPQ": "decoded from product-quantised codes",
    "IndexPQFastScan": "decoded from product-quantised codes",
    "IndexRaBitQ": "decoded from one bit a dimension",
}
"""Indexes that hold their vectors in one piece, and what is lost."""

LISTED = {
    "IndexIVFFlat": EXACT,
    "IndexIVFScalarQuantizer": "decoded from scalar-quantised codes",
    "IndexIVFPQ": "decoded from product-quantised codes",
    "IndexIVFRaBitQ": "decoded from one bit a dimension",
}
"""Indexes that hold them in lists, with their labels."""


@dataclass(frozen=True)
class IndexVectors:
    """The vectors of an index; iterating reads them block by block, every time anew.

    Yields ``(labels, vectors)``, int64 ``(n,)`` and float32 ``(n, d)``, in the order in which
    the index holds them: those of an IVF come list by list.

    Attributes:
        index: the ``faiss.Index``.
        lossy: what was lost, such as ``decoded from product-quantised codes``; empty: nothing.
        block: vectors in a block, at most.
    """

    index: Any
    lossy: str
    block: int = BLOCK

    @property
    def exact(self) -> bool:
        """Whether the vectors are bit by bit those that were added."""
        return not self.lossy

    @property
    def dim(self) -> int:
        """Dimensions d."""
        return int(self.index.d)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def labels(self) -> Labels:
        """Return the labels, int64 ``(n,)``, in the order in which the index holds them.

        Raises:
            GalleryError: there are not as many as vectors.
        """
        with self._named():
            return held_labels(self.index)

    def take(self, places: Labels) -> Vectors:
        """Return the vectors at places int64 ``(k,)`` of that order, float32 ``(k, d)``.

        Raises:
            GalleryError: faiss cannot give them back.
        """
        with self._named():
            return _taken(self.index, places)

    def __iter__(self) -> Blocks:
        labels = self.labels()
        for start in range(0, len(labels), self.block):
            places = np.arange(start, min(start + self.block, len(labels)))
            yield labels[places], self.take(places)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, IndexError) as error:
            raise GalleryError(
                f"faiss does not give the vectors of this {type(self.index).__name__} back "
                f"({short_reason(error)}); take those that it was built of"
            ) from error


def vectors_of(index: Any, block: int = BLOCK) -> IndexVectors:
    """Return the vectors of a faiss index, to be read block by block.

    Exact: ``Flat``, ``IVF…,Flat``, ``HNSW…,Flat``, ``NSG…,Flat``, ``…,RFlat``, and these within
    ``IDMap`` and ``IDMap2``. Approximate, ``lossy`` says why: SQ, PQ, RaBitQ, and what lies behind
    a rotation (OPQ, PCA, RR).

    Args:
        index: a ``faiss.Index``, or the path of an index file.
        block: vectors in a block, at most.

    Raises:
        GalleryError: the file is no index, or the vectors of this type cannot be had; says what
            can be done.
    """
    found = open_index(index) if isinstance(index, str | os.PathLike) else index
    return IndexVectors(found, _lost(found), block)


def _lost(index: Any) -> str:
    name = type(index).__name__
    if name in WITHIN:
        lost = [_lost(inner_index(index))]
        lost += map(_lost_by, _steps(index))
        return ", ".join(filter(None, lost))
    if name in DECODED or name in LISTED:
        return {**DECODED, **LISTED}[name]
    _refuse(name)


def _lost_by(step: Any) -> str:
    """Return what a transform loses.

    Once it was saved, faiss takes the matrix of a whitening for a rotation and turns vectors back
    the wrong way, without a word; before, it refuses.
    """
    name = type(step).__name__
    if name == "NormalizationTransform":
        return EXACT
    if getattr(step, "eigen_power", 0) or not getattr(step, "is_orthonormal", True):
        raise GalleryError(
            f"no vectors can be had of an index behind a whitening ({name}): faiss does not turn "
            "it back; take those that it was built of (it can still be searched as a first stage)"
        )
    return f"turned back by {name}"


def _refuse(name: str) -> NoReturn:
    why = "its vectors are not held in a form that is read here"
    if "FastScan" in name:
        why = "faiss cannot decode the lists of a fast scan index that was saved"
    elif "LSH" in name:
        why = "it holds signs, no vectors"
    elif "Binary" in name:
        why = "it holds bits, no vectors of numbers"
    raise GalleryError(
        f"no vectors can be had of an {name}: {why}; take those that it was built of (it can "
        "still be searched as a first stage)"
    )


def _steps(index: Any) -> list[Any]:
    """Return the transforms before an index, first to last."""
    import faiss

    if type(index).__name__ != "IndexPreTransform":
        return []
    chain = index.chain
    return [faiss.downcast_VectorTransform(chain.at(n)) for n in range(chain.size())]


def _taken(index: Any, places: Labels) -> Vectors:
    """Return the vectors at places, of those that an index holds one behind the other."""
    name = type(index).__name__
    if name in LISTED:
        return _listed(index, places)
    if name in DECODED:
        found: Vectors = index.reconstruct_batch(places)
        return found
    vectors = _taken(inner_index(index), places)
    for step in reversed(_steps(index)):
        vectors = step.reverse_transform(vectors)
    return vectors


def _listed(index: Any, places: Labels) -> Vectors:
    import faiss

    sizes = [index.invlists.list_size(number) for number in range(index.nlist)]
    ends = np.cumsum(sizes)
    lists = np.searchsorted(ends, places, side="right")
    within = places - (ends - sizes)[lists]
    vectors = np.empty((len(places), index.d), dtype=np.float32)
    for row, held in enumerate(zip(lists.tolist(), within.tolist(), strict=True)):
        index.reconstruct_from_offset(*held, faiss.swig_ptr(vectors[row]))
    return vectors
