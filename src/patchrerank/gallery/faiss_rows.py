"""Global vectors of an import out of a faiss index, with the labels that its owner gave."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.faiss_vectors import IndexVectors, vectors_of
from patchrerank.gallery.import_ids import PackedIds, pack_ids, read_ids
from patchrerank.gallery.row_sources import Array, RowSource, open_rows
from patchrerank.types import Rows

BEGIN = b"I"
"""How every faiss index file begins, and no ``.npy`` file."""
NPY = b"\x93NUMPY"
"""How a ``.npy`` file begins."""


class IndexRows(RowSource):
    """Some vectors of an index, in any order, as rows ``(n, d)`` that are read when asked for."""

    def __init__(self, index: IndexVectors, places: Rows, name: str) -> None:
        self.name, self._index, self._places = name, index, places
        self.shape, self.dtype = (len(places), index.dim), np.dtype(np.float32)

    def read(self, start: int, stop: int) -> Array:
        """Return rows ``[start, stop)``.

        Raises:
            GalleryError: faiss cannot give them back.
        """
        return self._index.take(self._places[start:stop])


def open_globals(
    ids: Any, vectors: Any, id_type: str | None, *, lossy: bool
) -> tuple[PackedIds, RowSource]:
    """Return ids, of which one may stand twice, and global vectors, in the same order.

    Args:
        ids: of the images; None, or by label, only if the vectors are in an index.
        vectors: an array or a file of one; a ``faiss.Index`` or a file of one.
        id_type: what ids are that are given as text.
        lossy: whether vectors may be taken that an index holds only roughly.

    Raises:
        GalleryError: no ids, or such as do not fit; an index without vectors, or without those
            that were added to it.
    """
    index = _index_of(vectors)
    if index is not None:
        name = _name_of(vectors)
        _check_exact(index, name, lossy)
        packed, places = _by_label(index, name, ids, id_type)
        return packed, IndexRows(index, places, name)
    _check_known(vectors)
    rows = open_rows(vectors, "globals")
    if ids is None:
        raise GalleryError("there are no ids; an import needs one for each image")
    return pack_ids(ids, id_type, unique=False), rows


def _index_of(vectors: Any) -> IndexVectors | None:
    if isinstance(vectors, str | os.PathLike):
        try:
            with Path(vectors).open("rb") as file:
                return vectors_of(vectors) if file.read(1) == BEGIN else None
        except (OSError, ValueError):  # whoever reads an array says so
            return None
    return vectors_of(vectors) if hasattr(vectors, "ntotal") else None


def _check_known(vectors: Any) -> None:
    """Refuse a file that is there, but is nothing that global vectors are read from."""
    if isinstance(vectors, str | os.PathLike) and Path(vectors).suffix != ".npy":
        try:
            with Path(vectors).open("rb") as file:
                begin = file.read(len(NPY))
        except (OSError, ValueError):  # whoever reads an array says so
            return
        if begin != NPY:
            raise GalleryError(
                f"{_name_of(vectors)}: is neither an array (.npy) nor a faiss index; cut short?"
            )


def _name_of(vectors: Any) -> str:
    named = isinstance(vectors, str | os.PathLike)
    return f"globals ({os.fspath(vectors) if named else type(vectors).__name__})"


def _check_exact(index: IndexVectors, name: str, lossy: bool) -> None:
    if not index.exact and not lossy:
        raise GalleryError(
            f"{name}: this {type(index.index).__name__} does not hold the vectors that were added "
            f"to it ({index.lossy}); pass those as an array, or take these, which are rougher, "
            "with lossy=True (--lossy), and normalise=True (--normalise) if their norms are not 1"
        )


def _by_label(
    index: IndexVectors, name: str, ids: Any, id_type: str | None
) -> tuple[PackedIds, Rows]:
    """Return the ids, and where in the index the vector of each is."""
    labels = index.labels()
    order = np.argsort(labels, kind="stable")
    rising = labels[order]
    twice = np.flatnonzero(np.diff(rising) == 0)
    if twice.size:
        raise GalleryError(
            f"{name}: has two vectors of the label {rising[twice[0]]}; each image needs one"
        )
    given = read_ids(ids) if isinstance(ids, str | os.PathLike) else ids
    if given is None:
        return pack_ids(rising, id_type), order
    if isinstance(given, Mapping):
        packed, wanted = pack_ids(list(given.values()), id_type), _numbers(given)
    else:
        packed = pack_ids(given, id_type)
        if np.array_equal(rising, np.arange(len(rising))):
            return packed, order  # the id of label i stands at i
        wanted = _as_labels(packed, name)
    found = np.searchsorted(rising, wanted).clip(0, max(0, len(rising) - 1))
    strange = rising[found] != wanted if len(rising) else np.ones(len(wanted), dtype=bool)
    if strange.any():
        row = int(np.argmax(strange))
        raise GalleryError(
            f"{name}: has no vector of the label {wanted[row]}, of {packed.named(row)} (row "
            f"{row}); its labels lie in {rising[:1].tolist()} … {rising[-1:].tolist()}"
        )
    return packed, order[found]


def _numbers(given: Mapping[Any, Any]) -> Rows:
    try:
        return np.array([int(label) for label in given], dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise GalleryError(
            f"ids: a mapping from labels, whole numbers, is needed ({error})"
        ) from None


def _as_labels(packed: PackedIds, name: str) -> Rows:
    if packed.kind != "int":
        raise GalleryError(
            f"{name}: the index has labels of its own; say which id each stands for with ids={{"
            "label: id} (a .json file of such an object), or pass its labels as the ids"
        )
    return np.ascontiguousarray(packed.blob).view("<i8").astype(np.int64)
