"""What learned rerankers share: their networks, and batches of candidates run through them."""

from __future__ import annotations

import copy
import os
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, LocalStore
from patchrerank.rerankers._candidates import (
    Batch,
    NetworkSpace,
    batches_of,
    check_candidates,
    gallery_vectors,
)
from patchrerank.rerankers._local import LocalReranker, local_of
from patchrerank.rerankers.execution import Execution, run_batches, threads_of, tokens_of
from patchrerank.rerankers.networks.configs import State
from patchrerank.rerankers.trained import Architecture, read_trained
from patchrerank.types import Floats, LocalDescriptors, LocalScores, Queries, QueryCrop, Shortlist

if TYPE_CHECKING:
    from torch import Tensor

    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.rerankers.networks.projection import PairNetwork

CheckpointPath = str | os.PathLike[str]
Network = TypeVar("Network", bound="PairNetwork")


class FromShapes(Architecture, Protocol):
    """An architecture of which a checkpoint's shapes tell something."""

    @classmethod
    def of_state(cls, state: State, origin: str) -> Self:
        """Derive it; what shapes do not show is as published."""
        ...


@dataclass(frozen=True)
class Limits:
    """How many descriptors are compared; of each image the strongest.

    Attributes:
        query_descriptors: of a query at most; None: all.
        gallery_descriptors: of a candidate at most; None: all.
    """

    query_descriptors: int | None = None
    gallery_descriptors: int | None = None

    def __post_init__(self) -> None:
        for name in ("query_descriptors", "gallery_descriptors"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} must be at least 1 or None (all), got {value}")


@dataclass(frozen=True, eq=False)
class Weights:
    """Where a learned reranker's network comes from: exactly one of the first two.

    Attributes:
        checkpoint: a file with the authors' key names (see :func:`load_network`).
        network: a torch module of the method; it is copied.
        config: the architecture, where a checkpoint does not show it.
    """

    checkpoint: CheckpointPath | None
    network: Any
    config: Any

    def open(self, name: str, make: type[Network], kind: type[FromShapes]) -> Network:
        """Return the network in evaluation mode, without gradients.

        Raises:
            SettingError: neither or both of checkpoint and network, or another kind of network.
            EncoderError: the checkpoint cannot be read or does not fit.
        """
        if (self.checkpoint is None) == (self.network is None):
            raise SettingError(
                f"{name} needs trained weights: pass checkpoint= (the authors' file, or one of "
                "your own training) or network=, and not both"
            )
        if self.checkpoint is not None:
            return load_network(self.checkpoint, make, kind, self.config)
        if self.config is not None:
            raise SettingError(f"{name}: config belongs to a checkpoint; a network has its own")
        if not isinstance(self.network, make):
            raise SettingError(
                f"{name}: network is a {type(self.network).__name__}, not a {make.__name__}"
            )
        return copy.deepcopy(self.network).eval().requires_grad_(False)


def load_network(
    checkpoint: CheckpointPath,
    make: Callable[[Any], Network],
    kind: type[FromShapes],
    config: FromShapes | None = None,
) -> Network:
    """Return a network with the weights of a checkpoint file, in evaluation mode.

    The file is one of ``torch.save`` (a state dict, alone or below ``state``) or ``.safetensors``;
    it is read without running code from it, and every key and shape must fit.

    Args:
        checkpoint: the file.
        make: makes the network of a configuration.
        kind: the class of configurations.
        config: the configuration; None: as recorded by ``patchrerank train``, else derived from
            the shapes.

    Raises:
        EncoderError: the file is missing, damaged or holds other objects than tensors; keys are
            missing, unexpected or of another shape; values are not finite. File and key are named.
    """
    import torch

    from patchrerank.encoders.checkpoints import check_finite, load_strictly, read_checkpoint

    origin = os.fspath(checkpoint)
    state = read_checkpoint(checkpoint)
    check_finite(state, origin)
    settings = config or read_trained(checkpoint).complete(kind.of_state(state, origin))
    with torch.device("meta"):
        network = make(settings)
    network = network.to_empty(device="cpu")
    load_strictly(network, state, origin=origin)
    return network.eval().requires_grad_(False)


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
    settings: Limits
    fingerprint: str
    """Digest of the weights, SHA-256."""
    localises = False
    """Whether the method says where it matched."""
    cpu_tokens = 2048
    """Descriptors in a batch on the CPU: enough work a call, and not too far from its cache."""

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

        how = execution or Execution()
        how = replace(how, device=choose_device(how.device))
        self.execution = replace(how, threads=threads_of(how))
        super().__init__(gallery, encoder, fusion, query_crop, dense_encoder, threads_of(how))
        self.network = network.to(self.execution.device)
        self.settings = settings
        self._digest, self._local = coding_digest(network), local
        self.fingerprint = weights_digest(network.state_dict())

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
        for number, query in enumerate(given):
            if len(query):
                batches = self._batches(local, query, shortlist, number)
                self._run(query, local, batches, scores[number], boxes[number])
        return LocalScores(scores, boxes if self.localises else None)

    @abstractmethod
    def _state(self, vectors: Tensor) -> tuple[Tensor, ...]:
        """Return what of a query ``(m, D)`` does not depend on the candidate."""

    @abstractmethod
    def _score_batch(
        self, state: tuple[Tensor, ...], vectors: Tensor, batch: Batch, local: LocalStore
    ) -> tuple[Tensor, Floats | None]:
        """Return scores ``(B,)`` and boxes ``(B, 4)`` of candidates ``(B, n, D)``."""

    @property
    def local(self) -> LocalStore:
        """What is compared: own codes, or the gallery's local descriptors."""
        return super().local if self._local is None else self._local

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
        self,
        query: LocalDescriptors,
        local: LocalStore,
        batches: list[Batch],
        scores: Floats,
        boxes: Floats,
    ) -> None:
        """Score one query's batches into its rows of the result."""
        states: list[tuple[Tensor, ...]] = []
        run_batches(self.execution, lambda: states.append(self._query_state(query)), [()])

        def work(batch: Batch) -> None:
            vectors = gallery_vectors(batch, local, self.network, self.execution.device)
            found, places = self._score_batch(states[0], vectors, batch, local)
            scores[batch.slots] = found.float().cpu().numpy()
            if places is not None:
                boxes[batch.slots] = places

        run_batches(self.execution, work, [(batch,) for batch in batches])

    def _query_state(self, query: LocalDescriptors) -> tuple[Tensor, ...]:
        import torch

        kept = np.array(query.vectors[: self.settings.query_descriptors], dtype=np.float32)
        vectors = torch.from_numpy(kept).to(self.execution.device)
        return self._state(self.network.query_side(vectors))
