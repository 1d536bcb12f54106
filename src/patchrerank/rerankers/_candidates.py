"""Candidates of a learned reranker: their descriptors in padded batches, raw or as codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError, QueryError
from patchrerank.gallery import Gallery, LocalStore
from patchrerank.gallery.identity import loading_call
from patchrerank.gallery.local_manifest import CODES, is_of
from patchrerank.kernels.checks import check_spans
from patchrerank.rerankers._local import flat_rows
from patchrerank.types import Floats, LocalDescriptors, LocalQueries, Rows

if TYPE_CHECKING:
    from torch import Tensor

    from patchrerank.kernels.held_rows import HeldRows
    from patchrerank.rerankers.networks.projection import PairNetwork

SIMILAR = 0.75
"""A batch holds candidates with at least this share of its longest's descriptors."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some candidates of one query.

    Attributes:
        slots: int64 ``(B,)``, their places in the shortlist.
        begins: int64 ``(B,)``, where their descriptors begin in the local store.
        counts: int64 ``(B,)``, how many are used; at least 1.
    """

    slots: Rows
    begins: Rows
    counts: Rows

    @property
    def width(self) -> int:
        """The longest candidate's number of descriptors n."""
        return int(self.counts.max())

    @property
    def is_full(self) -> bool:
        """Whether no candidate is shorter than another."""
        return bool((self.counts == self.width).all())

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """bool ``(B, n)``: where there is a descriptor."""
        return np.asarray(np.arange(self.width) < self.counts[:, None])

    @property
    def rows(self) -> Rows:
        """int64 ``(B, n)``: rows of the descriptors in the local store; the first where none."""
        return self.begins[:, None] + np.where(self.valid, np.arange(self.width), 0)


def batches_of(
    local: LocalStore, images: Rows, most: int | None, beside: int, limit: int
) -> list[Batch]:
    """Cut one query's candidates with descriptors into batches of similar length.

    Args:
        local: where they lie.
        images: int64 ``(K,)`` gallery rows, ``-1`` for an empty slot.
        most: the first descriptors of a candidate that are used; None: all.
        beside: descriptors that stand beside each candidate's: the query's.
        limit: most descriptors in a batch, padding included; one candidate is always taken.

    Raises:
        ShortlistError: rows outside the gallery.
    """
    spans = check_spans(images[None], local.ends, len(local.store))
    begins, counts = spans.begins[0], spans.counts[0]
    counts = counts if most is None else np.minimum(counts, most)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    batches = []
    while len(order):
        longest = int(counts[order[0]])
        size = min(
            max(1, limit // (longest + beside)), int((counts[order] >= SIMILAR * longest).sum())
        )
        taken, order = order[:size], order[size:]
        batches.append(Batch(taken, begins[taken], counts[taken]))
    return batches


def gallery_vectors(
    batch: Batch, local: LocalStore, network: PairNetwork, device: str, held: HeldRows | None = None
) -> Tensor:
    """Return a batch's projected descriptors ``(B, n, D)``, 0 where there is none.

    Each descriptor is projected once, without padding. Those that are held on the device are taken
    from there.
    """
    import torch

    from patchrerank.kernels.copies import sent

    where, rows = torch.device(device), flat_rows(batch.begins, batch.counts)
    given = sent(local.store.decode(rows), where) if held is None else held.decoded(rows)
    if not holds_codes(local):
        found = network.gallery_side(given)
    else:
        codes = torch.sign(given) if network.binarized else given
        found = network.from_codes(network.stored(codes))
    if batch.is_full:
        return found.view(len(batch.counts), batch.width, -1)
    padded = found.new_zeros(batch.valid.size, found.shape[1])
    padded.index_copy_(0, sent(np.flatnonzero(batch.valid), where), found)
    return padded.view(len(batch.counts), batch.width, -1)


def query_vectors(query: LocalDescriptors, most: int | None, device: str) -> Tensor:
    """Return a query's first ``most`` descriptors ``(m, D0)`` on the device; None: all."""
    import torch

    from patchrerank.kernels.copies import sent

    return sent(np.array(query.vectors[:most], dtype=np.float32), torch.device(device))


Out: TypeAlias = tuple[Floats, Floats]
"""Scores and boxes of one query, which are written."""
Launched: TypeAlias = "tuple[Batch, Out, Tensor, Tensor | None]"
"""A batch, where its results go, and what was found: scores ``(B,)`` and votes ``(B, n)``."""


def write_found(
    launched: Sequence[Launched], device: str, boxes_of: Callable[[Batch, Floats], Floats]
) -> None:
    """Write what batches found on a device, after one wait for all of them.

    Args:
        launched: the batches.
        device: where they are.
        boxes_of: boxes ``(B, 4)`` of votes ``(B, n)``.
    """
    import torch

    from patchrerank.kernels.copies import fetched

    tensors = [part.float() for _, _, *own in launched for part in own if part is not None]
    found = iter(fetched(torch.device(device), *tensors))
    for batch, (scores, boxes), _, votes in launched:
        scores[batch.slots] = next(found)
        if votes is not None:
            boxes[batch.slots] = boxes_of(batch, next(found))


def holds_codes(local: LocalStore) -> bool:
    """Return whether a local store holds a network's codes instead of descriptors."""
    return CODES in local.manifest.encoder


def check_candidates(local: LocalStore, gallery: Gallery, digest: str, local_dim: int) -> None:
    """Refuse a local store that the network cannot read.

    Raises:
        GalleryError: codes of other weights or of another gallery's images, or descriptors of
            another dimension.
    """
    if not holds_codes(local):
        if local.dim != local_dim:
            raise GalleryError(
                f"{local.folder}: local descriptors have {local.dim} dimensions, the network takes "
                f"{local_dim}; use the checkpoint that was trained for "
                f"{local.manifest.encoder.get('spec')!r}"
            )
        return
    theirs = str(local.manifest.encoder[CODES])
    if theirs != digest:
        raise GalleryError(
            f"{local.folder}: holds codes of other weights ({theirs[:12]}… instead of "
            f"{digest[:12]}…); make them again with compact_local"
        )
    whole = len(local) == len(gallery)
    if not whole or not is_of(local.manifest, gallery.manifest, gallery.ids_crc):
        raise GalleryError(
            f"{local.folder}: holds codes of {len(local)} other images than the gallery's "
            f"{len(gallery)}; make them again with compact_local"
        )


@dataclass(frozen=True, eq=False)
class NetworkSpace:
    """The query descriptors that a network can read beside a local store's candidates.

    Attributes:
        local: descriptors, or codes made of them.
        local_dim: D0, which the network takes.
    """

    local: LocalStore
    local_dim: int

    def check_queries(self, queries: Sequence[LocalDescriptors]) -> None:
        """Refuse query descriptors that the network cannot read.

        Raises:
            QueryError: another dimension, NaN or infinite values, or made by another network
                than the gallery's.
        """
        for number, query in enumerate(queries):
            if len(query) and query.vectors.shape[1] != self.local_dim:
                raise QueryError(
                    f"local descriptors of query {number} have {query.vectors.shape[1]} "
                    f"dimensions, the network takes {self.local_dim}"
                )
            if not np.isfinite(query.vectors).all():
                raise QueryError(f"local descriptors of query {number} hold NaN or infinite values")
        if not holds_codes(self.local):
            self.local.check_queries(queries)
            return
        theirs = queries.identity if isinstance(queries, LocalQueries) else ""
        if theirs and self.local.identity and theirs != self.local.identity:
            raise QueryError(
                f"local descriptors of the queries were made by {theirs[:12]}…, the codes in "
                f"{self.local.folder} are of descriptors by {self.local.identity[:12]}…; use the "
                f"same dense encoder: {loading_call(self.local.manifest.encoder)}"
            )
