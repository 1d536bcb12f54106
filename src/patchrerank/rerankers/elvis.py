"""ELViS: local descriptors vote for the similarity of query and candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from patchrerank.errors import SettingError, ShortlistError, check_kind
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, LocalStore
from patchrerank.rerankers._candidates import Batch, NetworkSpace, batches_of, gallery_vectors
from patchrerank.rerankers._learned import LearnedReranker
from patchrerank.rerankers._local import cell_sizes
from patchrerank.rerankers._weights import CheckpointPath, Weights
from patchrerank.rerankers.execution import Execution, open_runner
from patchrerank.rerankers.limits import Limits
from patchrerank.rerankers.networks.configs import ElvisConfig
from patchrerank.rerankers.trained import limited
from patchrerank.rerankers.votes import VoteMap, vote_boxes
from patchrerank.types import Floats, LocalDescriptors, QueryCrop

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.rerankers.networks.elvis_network import ElvisNetwork
    from patchrerank.rerankers.networks.elvis_pairs import ElvisPairs

ELVIS_FUSION = Fusion(0.5, 0.5, 100)
"""Defaults of the authors' configuration; no tuned values are published."""


@dataclass(frozen=True)
class ElvisSettings(Limits):
    """What ELViS compares.

    Attributes:
        query_descriptors: of a query at most; None: all.
        gallery_descriptors: of a candidate at most; None: all.
        padding: ``slots``: an image with fewer descriptors counts as padded to these numbers, as
            in the authors' program, which changes scores by up to some per cent; ``none``: as
            long as it is (and always so where the number is None).
    """

    query_descriptors: int | None = 600
    gallery_descriptors: int | None = 600
    padding: Literal["slots", "none"] = "slots"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.padding not in ("slots", "none"):
            raise SettingError(f"padding is {self.padding!r}; use 'slots' or 'none'")

    @property
    def slots(self) -> tuple[int, int]:
        """The least members of a query and of a candidate."""
        if self.padding == "none":
            return 0, 0
        return self.query_descriptors or 0, self.gallery_descriptors or 0


class ELViS(LearnedReranker):
    """A candidate's score is the sum of the votes of its and the query's descriptors.

    Scores lie between 0 and the number of descriptors of both; higher is more similar. They are
    no logits: a sigmoid of them soon saturates, so a small γ is needed. A candidate or a query
    without descriptors gives −inf and no box.

    The box holds the votes of the candidate's descriptors, as far as they are stronger than the
    vote of a descriptor without a match, but for outliers (see
    :func:`~patchrerank.rerankers.votes.vote_boxes`). :meth:`vote_map` shows all of them.

    Source: Suma et al., "ELViS: Efficient Visual Similarity from Local Descriptors that
    Generalizes Across Domains", ICLR 2026. Scores are those of
    :class:`~patchrerank.rerankers.networks.elvis_network.ElvisNetwork` to about 1e-6 of their
    size.

    Args:
        gallery: with local descriptors of the checkpoint's backbone; or pass ``local``.
        encoder, fusion, query_crop, dense_encoder: see
            :class:`~patchrerank.rerankers._local.LocalReranker`. ``ELVIS_FUSION`` is the
            published one.
        checkpoint: the authors' file (weights below ``state``), or one with the same key names.
        network: an ``ElvisNetwork`` instead; it is copied.
        config: the architecture, for checkpoints with another temperature or other iterations
            than published; the rest is read from the shapes, and ``patchrerank train`` records
            all of it.
        settings: see :class:`ElvisSettings`; None: its defaults, but no more descriptors (and
            slots) than a checkpoint of ``patchrerank train`` has seen.
        execution: how the network is run.
        local: codes instead of the gallery's descriptors; see
            :func:`~patchrerank.rerankers.compact.compact_local`.

    Raises:
        SettingError: neither or both of checkpoint and network.
        EncoderError: the checkpoint cannot be read or does not fit.
    """

    name = "elvis"
    localises = True
    cpu_tokens = 8192
    network: ElvisNetwork
    settings: ElvisSettings

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder | None = None,
        fusion: Fusion | None = None,
        query_crop: QueryCrop = "none",
        dense_encoder: DenseEncoder | None = None,
        *,
        checkpoint: CheckpointPath | None = None,
        network: ElvisNetwork | None = None,
        config: ElvisConfig | None = None,
        settings: ElvisSettings | None = None,
        execution: Execution | None = None,
        local: LocalStore | None = None,
    ) -> None:
        check_kind("settings", settings, ElvisSettings, "ElvisSettings(…)")
        check_kind("config", config, ElvisConfig, "ElvisConfig(…)")
        self._made_from = Weights(checkpoint, None, config)
        super().__init__(
            gallery,
            encoder,
            fusion,
            query_crop,
            dense_encoder,
            network=load_elvis(checkpoint, network, config),
            settings=settings or limited(ElvisSettings(), checkpoint),
            execution=execution,
            local=local,
        )
        from patchrerank.rerankers.networks.elvis_pairs import ElvisPairs

        self._pairs = ElvisPairs(self.network, self.execution.dtype)
        self._runner = open_runner(self._pairs, lambda: _examples(self._pairs), self.execution)

    def vote_map(self, query: LocalDescriptors, row: int) -> VoteMap:
        """Return how the descriptors of one pair voted.

        Args:
            query: as in ``Queries.local``.
            row: the candidate's gallery row (``gallery.rows_of([id])[0]``).

        Raises:
            QueryError: the query has descriptors of another space.
            ShortlistError: no such row, or one of the two has no descriptors.
        """
        from patchrerank.rerankers.execution import run_batches

        local = self._candidates()
        NetworkSpace(local, self.network.local_dim).check_queries([query])
        most = self.settings.gallery_descriptors
        batches = batches_of(local, np.array([row]), most, 0, 1)
        if not batches or not len(query):
            raise ShortlistError(f"row {row}: a vote map needs descriptors of query and candidate")
        found: list[VoteMap] = []
        run_batches(self.execution, lambda: found.append(self._map(query, batches[0], local)), [()])
        return found[0]

    def _state(self, vectors: Tensor) -> tuple[Tensor, ...]:
        return tuple(self._pairs.side(vectors, self.settings.slots[0]))

    def _score_batch(
        self, state: tuple[Tensor, ...], vectors: Tensor, batch: Batch
    ) -> tuple[Tensor, Tensor | None]:
        from patchrerank.kernels.copies import sent

        valid = sent(batch.valid.astype(np.float32), vectors.device)
        scores, votes = self._runner(*state, vectors, valid, self._slots(batch, vectors.device))
        return scores, self._above_nothing(votes)

    def _boxes(self, local: LocalStore, batch: Batch, votes: Floats) -> Floats:
        places = local.positions[batch.rows], cell_sizes(local, local.scales[batch.rows])
        return vote_boxes(*places, votes)

    def _slots(self, batch: Batch, device: torch.device) -> Tensor:
        from patchrerank.kernels.copies import sent

        members = np.maximum(batch.counts, self.settings.slots[1]).astype(np.float32)
        return sent(members, device)

    def _above_nothing(self, votes: Tensor) -> Tensor:
        """Return votes as far as they are stronger than a descriptor's without a match."""
        nothing = self._pairs.votes_of(votes.new_zeros(1))
        return (votes - nothing).clamp(min=0).float()

    def _map(self, query: LocalDescriptors, batch: Batch, local: LocalStore) -> VoteMap:
        vectors = gallery_vectors(batch, local, self.network, self.execution.device)
        state, rows = self._query_state(query), batch.rows
        slots = float(self._slots(batch, vectors.device)[0])
        shares = self._pairs.shares(state, vectors[0], slots).float()
        own, votes = (self._pairs.votes_of(shares.amax(dim=axis)) for axis in (1, 0))
        places = local.positions[rows], cell_sizes(local, local.scales[rows])
        return VoteMap(
            score=float(own.sum() + votes.sum()),
            query_positions=query.positions[: len(own)],
            query_votes=own.cpu().numpy(),
            query_matches=shares.argmax(dim=1).cpu().numpy(),
            positions=places[0][0],
            cells=places[1][0],
            votes=votes.cpu().numpy(),
            matches=shares.argmax(dim=0).cpu().numpy(),
            shares=shares.cpu().numpy(),
            box=vote_boxes(*places, self._above_nothing(votes)[None].cpu().numpy())[0],
        )


def load_elvis(
    checkpoint: CheckpointPath | None = None,
    network: ElvisNetwork | None = None,
    config: ElvisConfig | None = None,
) -> ElvisNetwork:
    """Return ELViS' network from a checkpoint, or a copy of ``network``; see :class:`ELViS`."""
    from patchrerank.rerankers.networks.elvis_network import ElvisNetwork as Network

    return Weights(checkpoint, network, config).open(ELViS.name, Network, ElvisConfig)


def _examples(pairs: ElvisPairs) -> list[tuple[Tensor, ...]]:
    """Inputs of two different shapes, for back ends that record the network."""
    import torch

    generator = torch.Generator().manual_seed(0)
    device, dim = pairs.network.dust_bin.device, pairs.network.model_dim
    examples: list[tuple[Tensor, ...]] = []
    for own, batch, count in ((5, 2, 3), (7, 3, 4)):
        query, target = (
            torch.nn.functional.normalize(torch.randn(*size, dim, generator=generator), dim=-1)
            for size in ((own,), (batch, count))
        )
        valid = torch.ones(batch, count)
        valid[-1, 1:] = 0
        with torch.inference_mode():
            state = pairs.side(query.to(device), 9)
        examples.append((*state, target, valid, torch.full((batch,), 6.0)))
    return examples
