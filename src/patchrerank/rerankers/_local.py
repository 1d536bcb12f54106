"""What rerankers over local descriptors share: their queries, and blocks of candidates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from patchrerank.cells import Cells
from patchrerank.errors import QueryError, SettingError, described
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, LocalStore
from patchrerank.kernels.checks import check_spans, check_threads
from patchrerank.kernels.rows import BLOCK_BYTES
from patchrerank.kernels.set_comparison import SetStore
from patchrerank.kernels.stores import Float32Store
from patchrerank.rerankers.base import Read, Reranker
from patchrerank.rerankers.stage_parts import StageParts
from patchrerank.types import Floats, LocalDescriptors, Queries, QueryCrop, Rows, Shortlist

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, Encoder

Source: TypeAlias = tuple[SetStore, Rows, Rows]
"""A store, its ends, and which of its images are meant: what the set kernels take."""

UNKNOWN_GRID = (16, 16)
"""The cells that descriptors are sorted into where nobody knows which map they come from."""


class LocalReranker(Reranker):
    """A reranker that compares local descriptors of query and candidate.

    Args:
        gallery: with local descriptors (``patchrerank.gallery.build_local``).
        encoder: encodes query pictures; not needed for ready vectors.
        fusion: how local and global scores are joined by :meth:`rerank`.
        query_crop: what is done with a query's box before its *global* vector is encoded.
        dense_encoder: makes the local descriptors of query pictures, inside their box where one
            is known; at an image size of its own, often half the gallery's. Not needed where
            queries bring ``local`` along.
        threads: how many threads compare; results do not depend on it.

    Raises:
        SettingError, QueryError: as the base class does.
    """

    reads = frozenset({"local"})

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder | None = None,
        fusion: Fusion | None = None,
        query_crop: QueryCrop = "none",
        dense_encoder: DenseEncoder | None = None,
        threads: int = 1,
    ) -> None:
        super().__init__(gallery, encoder, fusion, query_crop)
        if dense_encoder is not None and not hasattr(dense_encoder, "encode_images"):
            raise SettingError(
                f"the dense encoder is {described(dense_encoder)}; pass what "
                "load_dense_encoder(…) returns, or None where queries bring local descriptors"
            )
        self.dense_encoder = dense_encoder
        self.threads = check_threads(threads)

    @property
    def local(self) -> LocalStore:
        """The descriptors of candidates that are compared.

        Raises:
            GalleryError: there are none.
        """
        return self.gallery.local

    @classmethod
    def from_stage(cls, parts: StageParts) -> Reranker:
        """Make one of a stage's text; see the base class."""
        crop, dense = parts.query_crop, parts.dense_encoder
        return cls(parts.gallery, parts.encoder, query_crop=crop, dense_encoder=dense)

    def _bytes_of(self, kind: Read) -> float:
        return sum(self.local.nbytes().values()) if kind == "local" else super()._bytes_of(kind)


class QuerySpace(Protocol):
    """Anything that knows which query descriptors may be compared, a local store for one."""

    def check_queries(self, queries: Sequence[LocalDescriptors]) -> None:
        """Refuse query descriptors of another space."""
        ...


def local_of(
    queries: Queries, shortlist: Shortlist, local: QuerySpace, name: str
) -> Sequence[LocalDescriptors]:
    """Return the local descriptors of queries after checking them.

    Raises:
        QueryError: there are none, they are of another space, or not one query a shortlist.
    """
    if len(queries) != len(shortlist):
        raise QueryError(f"{len(queries)} queries but {len(shortlist)} shortlists")
    if queries.texts is not None:
        raise QueryError(
            f"{name} compares pictures, and the query is words; ask with a picture, or "
            "leave the stage out (patchify takes words)"
        )
    if queries.local is None:
        raise QueryError(
            f"{name}: the queries have no local descriptors; make the reranker with dense_encoder="
            "load_dense_encoder(…) and pass pictures, or pass Queries(…, local="
            "encode_local_queries(dense_encoder, pictures, boxes))"
        )
    local.check_queries(queries.local)
    return queries.local


@dataclass(frozen=True, eq=False)
class Block:
    """Some consecutive slots of a query's shortlist, and where their descriptors lie.

    Attributes:
        slots: which.
        images: int64 ``(k,)``, their gallery rows, ``-1`` for an empty slot.
        begins: int64 ``(k,)``, first row of each slot's descriptors in the local store.
        counts: int64 ``(k,)``, how many; 0 for an empty slot.
    """

    slots: slice
    images: Rows
    begins: Rows
    counts: Rows

    @property
    def rows(self) -> Rows:
        """int64: the rows of all descriptors, slot by slot."""
        return flat_rows(self.begins, self.counts)

    def in_place(self, local: LocalStore) -> Source:
        """Return the whole store, its ends and the gallery rows of the slots.

        Of a binary store, whose rows no kernel compares, take :meth:`decoded`.
        """
        return cast(SetStore, local.store), local.ends, self.images

    def decoded(self, local: LocalStore) -> Source:
        """Return a store of the slots' descriptors as floats, its ends and 0 … k − 1."""
        floats = Float32Store(local.store.decode(self.rows))
        return floats, np.cumsum(self.counts), np.arange(len(self.counts))


def blocks_of(
    local: LocalStore, images: Rows, beside: int, *, decoded: bool = False
) -> Iterator[Block]:
    """Cut one query's candidates into blocks of at most ``BLOCK_BYTES`` (or one candidate).

    Args:
        local: where they lie.
        images: int64 ``(K,)`` gallery rows, ``-1`` for an empty slot.
        beside: floats that a candidate takes beside its descriptors.
        decoded: whether its descriptors will be decoded.

    Raises:
        ShortlistError: rows outside the gallery.
    """
    spans = check_spans(images[None], local.ends, len(local.store))
    begins, counts = spans.begins[0], spans.counts[0]
    filled = np.cumsum(4 * (counts * (local.dim if decoded else 0) + beside))
    start = 0
    while start < len(images):
        limit = BLOCK_BYTES + (filled[start - 1] if start else 0)
        stop = max(start + 1, int(np.searchsorted(filled, limit, side="right")))
        part = slice(start, stop)
        yield Block(part, images[part], begins[part], counts[part])
        start = stop


def flat_rows(begins: Rows, counts: Rows) -> Rows:
    """Return ``begins[0] … begins[0] + counts[0] - 1, begins[1] …``, one span behind the other."""
    shifts: Rows = np.repeat(begins - (np.cumsum(counts) - counts), counts)
    return shifts + np.arange(len(shifts))


def cells_of(local: LocalStore) -> tuple[Cells, ...]:
    """Return the cells of each scale; those of ``UNKNOWN_GRID`` where the store does not know."""
    return local.cells or (Cells.equal(*UNKNOWN_GRID),)


def cell_sizes(local: LocalStore, scales: npt.NDArray[np.int16]) -> Floats:
    """Return width and height of the cells of descriptors with these scales, in [0, 1].

    float32 ``(…, 2)``; a scale beyond the store's counts as the last.
    """
    cells = cells_of(local)
    table = np.array([(one.columns.step, one.rows.step) for one in cells], dtype=np.float32)
    return np.asarray(table[np.clip(scales, 0, len(table) - 1)])
