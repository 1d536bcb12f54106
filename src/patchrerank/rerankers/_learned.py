"""What learned rerankers share: their networks, and batches of candidates run through them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from patchrerank.errors import EncoderError, SettingError, check_kind
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, LocalStore
from patchrerank.rerankers._candidates import (
    Batch,
    Launched,
    NetworkSpace,
    Out,
    batches_of,
    check_candidates,
    gallery_vectors,
    query_vectors,
    write_found,
)
from patchrerank.rerankers._local import LocalReranker, local_of
from patchrerank.rerankers._weights import Weights
from patchrerank.rerankers.base import Reranker
from patchrerank.rerankers.execution import Execution, run_batches, threads_of, tokens_of
from patchrerank.rerankers.limits import Limits
from patchrerank.rerankers.stage_parts import StageParts
from patchrerank.types import Floats, LocalDescriptors, LocalScores, Queries, QueryCrop, Shortlist

if TYPE_CHECKING:
    from torch import Tensor

    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.kernels.devices import Device
    from patchrerank.rerankers.networks.projection import PairNetwork

Remade = tuple[Callable[..., Any], tuple[Any, ...]]
"""What ``__reduce__`` returns: a function, and what to call it with."""


class LearnedReranker(LocalReranker):
    """A reranker whose network compares the local descriptors of query and candidate.

    Args:
        gallery: with local descriptors; or pass ``local``.
        encoder, fusion, query_crop, dense_encoder: see
            :class:`~patchrerank.rerankers._local.LocalReranker`.
        network: in evaluation mode; moved to the device.
        settings: how many descriptors are compared.
        execution: how the network is run.
        local: codes of the gallery's images made by
            :func:`~patchrerank.rerankers.compact.compact_local`; None: the gallery's descriptors.
    """

    network: PairNetwork
    _made_from: Weights
    settings: Limits
    fingerprint: str
    """Digest of the weights, SHA-256."""
    localises = False
    """Whether the method says where it matched."""
    cpu_tokens = 2048
    """Descriptors in a batch on the CPU: enough work a call, and not too far from its cache."""

    takes_checkpoint = True

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder | None,
        fusion: Fusion | None,
        query_crop: QueryCrop,
        dense_encoder: DenseEncoder | None,
        *,
        network: PairNetwork,
        settings: Limits,
        execution: Execution | None,
        local: LocalStore | None,
    ) -> None:
        from patchrerank.encoders.backends.torch_eager import choose_device
        from patchrerank.rerankers.networks.projection import coding_digest, weights_digest

        check_kind("execution", execution, Execution, "Execution(…)")
        check_kind("local", local, LocalStore, "what compact_local(…) returns")
        how = execution or Execution()
        self.execution = replace(how, device=choose_device(how.device))
        threads = threads_of(self.execution)
        super().__init__(gallery, encoder, fusion, query_crop, dense_encoder, threads)
        self.network = network.to(self.execution.device)
        self.settings, self._local = settings, local
        self._digest, self.fingerprint = (
            coding_digest(network),
            weights_digest(network.state_dict()),
        )

    def __reduce__(self) -> Remade:
        return carried(self, self._made_from)

    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Return score (and box, where the method localises) of each candidate.

        Scores of one pair in batches of other lengths agree to about 1e-5, not to the bit.

        Raises:
            QueryError: the queries have no local descriptors, or of another space.
            GalleryError: the gallery has none, or none that the network can read.
        """
        local = self._candidates()
        space = NetworkSpace(local, self.network.local_dim)
        given = local_of(queries, shortlist, space, self.name)
        scores = np.full(shortlist.rows.shape, -np.inf, dtype=np.float32)
        boxes = np.full((*shortlist.rows.shape, 4), np.nan, dtype=np.float32)
        waiting: list[Launched] = []
        for number, query in enumerate(given):
            if len(query):
                batches = self._batches(local, query, shortlist, number)
                waiting += self._run(query, local, batches, (scores[number], boxes[number]))
        self._finish(local, waiting)
        return LocalScores(scores, boxes if self.localises else None)

    @classmethod
    def from_stage(cls, parts: StageParts) -> Reranker:
        """Make one of a stage's text, which names its weights; see the base class.

        Raises:
            SettingError: it names none.
        """
        if not parts.checkpoint:
            raise SettingError(
                f"stage {cls.name!r} needs its weights; name their file, as in "
                f"{cls.name}@weights.pt:100"
            )
        make: Callable[..., Reranker] = cls  # each takes the file of its own network
        return make(
            parts.gallery,
            parts.encoder,
            query_crop=parts.query_crop,
            dense_encoder=parts.dense_encoder,
            checkpoint=parts.checkpoint,
        )

    @abstractmethod
    def _state(self, vectors: Tensor) -> tuple[Tensor, ...]:
        """Return what of a query ``(m, D)`` does not depend on the candidate."""

    @abstractmethod
    def _score_batch(
        self, state: tuple[Tensor, ...], vectors: Tensor, batch: Batch
    ) -> tuple[Tensor, Tensor | None]:
        """Return scores ``(B,)`` and votes ``(B, n)``, if there are any, of ``(B, n, D)``."""

    def _boxes(self, local: LocalStore, batch: Batch, votes: Floats) -> Floats:
        """Return the boxes ``(B, 4)`` of votes ``(B, n)``."""
        raise NotImplementedError

    @property
    def local(self) -> LocalStore:
        """What is compared: own codes, or the gallery's local descriptors."""
        return super().local if self._local is None else self._local

    @property
    def own_local(self) -> LocalStore | None:
        """Codes that were passed in."""
        return self._local

    def _candidates(self) -> LocalStore:
        check_candidates(self.local, self.gallery, self._digest, self.network.local_dim)
        return self.local

    def _batches(
        self, local: LocalStore, query: LocalDescriptors, shortlist: Shortlist, number: int
    ) -> list[Batch]:
        beside = min(len(query), self.settings.query_descriptors or len(query))
        most, limit = self.settings.gallery_descriptors, tokens_of(self.execution, self.cpu_tokens)
        return batches_of(local, shortlist.rows[number], most, beside, limit)

    def _run(
        self, query: LocalDescriptors, local: LocalStore, batches: list[Batch], out: Out
    ) -> list[Launched]:
        """Score a query's batches into its rows of the result, or launch them and return them."""
        states: list[tuple[Tensor, ...]] = []
        run_batches(self.execution, lambda: states.append(self._query_state(query)), [()])
        where, launched = self.execution.device, list[Launched]()
        waits = self.device is not None or where != "cpu"
        there = None if self.device is None else self.device.whole(local.store, local.ends)

        def work(batch: Batch) -> None:
            vectors = gallery_vectors(batch, local, self.network, where, there)
            one = batch, out, *self._score_batch(states[0], vectors, batch)
            launched.append(one) if waits else self._finish(local, [one])

        run_batches(self.execution, work, [(batch,) for batch in batches])
        return launched

    def _finish(self, local: LocalStore, launched: list[Launched]) -> None:
        write_found(launched, self.execution.device, partial(self._boxes, local))

    def _placed(self, device: Device | None) -> Self:
        where = "cpu" if device is None else device.name.removeprefix("torch:")
        backend = self.execution.backend if where == "cpu" else "eager"
        how = replace(self.execution, device=where, backend=backend)
        make, (kind, given, digest) = carried(self, self._made_from)
        made: Self = make(kind, {**given, "execution": how}, digest)
        made.device, made.query_views = device, self.query_views
        return made

    def _query_state(self, query: LocalDescriptors) -> tuple[Tensor, ...]:
        most, where = self.settings.query_descriptors, self.execution.device
        return self._state(self.network.query_side(query_vectors(query, most, where)))


def carried(reranker: LearnedReranker, weights: Weights) -> Remade:
    """Return how a learned reranker is pickled: its checkpoint's path and digest, no weights.

    One whose network was passed in carries the network.
    """
    file = None if weights.checkpoint is None else Path(weights.checkpoint).absolute()
    arguments = {
        "gallery": reranker.gallery,
        "encoder": reranker.encoder,
        "fusion": reranker.fusion,
        "query_crop": reranker.query_crop,
        "dense_encoder": reranker.dense_encoder,
        "checkpoint": file,
        "network": reranker.network if file is None else None,
        "config": weights.config,
        "settings": reranker.settings,
        "execution": reranker.execution,
        "local": reranker.own_local,
    }
    return _made_again, (type(reranker), arguments, reranker.fingerprint)


def _made_again(
    kind: type[LearnedReranker], arguments: dict[str, Any], fingerprint: str
) -> LearnedReranker:
    reranker = kind(**arguments)
    if reranker.fingerprint != fingerprint:
        raise EncoderError(
            f"{arguments['checkpoint']}: holds other weights than when the reranker "
            f"{reranker.name!r} was pickled (then {fingerprint[:12]}…, now "
            f"{reranker.fingerprint[:12]}…); restore the file, or make the reranker anew"
        )
    return reranker
