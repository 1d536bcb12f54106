"""AMES: a transformer compares the local descriptors of query and candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchrerank.errors import check_kind
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, LocalStore
from patchrerank.rerankers._candidates import Batch
from patchrerank.rerankers._learned import LearnedReranker
from patchrerank.rerankers._weights import CheckpointPath, Weights
from patchrerank.rerankers.execution import Execution, open_runner
from patchrerank.rerankers.limits import Limits
from patchrerank.rerankers.networks.configs import AmesConfig
from patchrerank.rerankers.trained import limited
from patchrerank.types import QueryCrop

if TYPE_CHECKING:
    from torch import Tensor

    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.rerankers.networks.ames_network import AmesNetwork
    from patchrerank.rerankers.networks.ames_pairs import AmesPairs


@dataclass(frozen=True)
class AmesSettings(Limits):
    """How many descriptors AMES compares; more of the query's than of a candidate's are usual.

    Attributes:
        query_descriptors: of a query at most; None: all.
        gallery_descriptors: of a candidate at most; None: all.
    """

    query_descriptors: int | None = 600
    gallery_descriptors: int | None = 50


@dataclass(frozen=True)
class AmesPreset:
    """Published evaluation settings of one checkpoint.

    Attributes:
        fusion: λ and γ tuned on the public test split of GLDv2; the first 100 are reranked.
        settings: 600 query descriptors against 50 of a candidate.
    """

    fusion: Fusion
    settings: AmesSettings = AmesSettings()


AMES_PRESETS: dict[str, AmesPreset] = {
    "dinov2": AmesPreset(Fusion(0.55, 0.30, 100)),
    "dinov2-binary": AmesPreset(Fusion(0.35, 0.10, 100)),
    "cvnet": AmesPreset(Fusion(0.85, 0.80, 100)),
    "cvnet-binary": AmesPreset(Fusion(0.65, 0.20, 100)),
}
"""Backbone of the descriptors, and whether they are binarised → settings of the authors."""


class AMES(LearnedReranker):
    """A candidate's score is the logit that AMES gives it beside the query.

    Logits have no fixed range; higher is more similar. A candidate or a query without descriptors
    gives −inf. The network says how similar two images are, not where: there are no boxes (a
    stage in front that localises keeps its own; ``RefineBoxes`` adds some).

    Source: Suma et al., "AMES: Asymmetric and Memory-Efficient Similarity Estimation for
    Instance-level Retrieval", ECCV 2024. Scores are those of
    :class:`~patchrerank.rerankers.networks.ames_network.AmesNetwork` to about 1e-5.

    Args:
        gallery: with local descriptors of the checkpoint's backbone; or pass ``local``.
        encoder, fusion, query_crop, dense_encoder: see
            :class:`~patchrerank.rerankers._local.LocalReranker`. ``AMES_PRESETS`` has the
            published fusions.
        checkpoint: the authors' file (weights below ``state``), or one with the same key names.
        network: an ``AmesNetwork`` instead; it is copied.
        config: the architecture, for checkpoints with other heads or activation than published;
            the rest is read from the shapes, and ``patchrerank train`` records all of it.
        settings: how many descriptors are compared; None: as many as by default, but no more
            than a checkpoint of ``patchrerank train`` has seen.
        execution: how the network is run.
        local: codes instead of the gallery's descriptors: 16 bits a dimension, or 1 where the
            network is binarised; see :func:`~patchrerank.rerankers.compact.compact_local`. The
            scores are the same.

    Raises:
        SettingError: neither or both of checkpoint and network.
        EncoderError: the checkpoint cannot be read or does not fit.
    """

    name = "ames"
    network: AmesNetwork

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder | None = None,
        fusion: Fusion | None = None,
        query_crop: QueryCrop = "none",
        dense_encoder: DenseEncoder | None = None,
        *,
        checkpoint: CheckpointPath | None = None,
        network: AmesNetwork | None = None,
        config: AmesConfig | None = None,
        settings: AmesSettings | None = None,
        execution: Execution | None = None,
        local: LocalStore | None = None,
    ) -> None:
        check_kind("settings", settings, AmesSettings, "AmesSettings(…)")
        check_kind("config", config, AmesConfig, "AmesConfig(…)")
        self._made_from = Weights(checkpoint, None, config)
        super().__init__(
            gallery,
            encoder,
            fusion,
            query_crop,
            dense_encoder,
            network=load_ames(checkpoint, network, config),
            settings=settings or limited(AmesSettings(), checkpoint),
            execution=execution,
            local=local,
        )
        from patchrerank.rerankers.networks.ames_pairs import AmesPairs

        self._pairs = AmesPairs(self.network, self.execution.dtype)
        self._runner = open_runner(self._pairs, lambda: _examples(self._pairs), self.execution)

    def _state(self, vectors: Tensor) -> tuple[Tensor, ...]:
        return tuple(self._pairs.side(vectors.unsqueeze(0)))

    def _score_batch(
        self, state: tuple[Tensor, ...], vectors: Tensor, batch: Batch
    ) -> tuple[Tensor, Tensor | None]:
        from patchrerank.kernels.copies import sent

        inputs = [*state, vectors]
        if not batch.is_full or self.execution.backend != "eager":
            inputs.append(sent(batch.valid, vectors.device))
        return self._runner(*inputs)[0], None


def load_ames(
    checkpoint: CheckpointPath | None = None,
    network: AmesNetwork | None = None,
    config: AmesConfig | None = None,
) -> AmesNetwork:
    """Return AMES' network from a checkpoint, or a copy of ``network``; see :class:`AMES`."""
    from patchrerank.rerankers.networks.ames_network import AmesNetwork as Network

    return Weights(checkpoint, network, config).open(AMES.name, Network, AmesConfig)


def _examples(pairs: AmesPairs) -> list[tuple[Tensor, ...]]:
    """Inputs of two different shapes, for back ends that record the network."""
    import torch

    generator = torch.Generator().manual_seed(0)
    examples: list[tuple[Tensor, ...]] = []
    for own, batch, count in ((5, 2, 3), (7, 3, 4)):
        query, target = (
            torch.randn(size, count_, len(pairs.token), generator=generator)
            for size, count_ in ((1, own), (batch, count))
        )
        readable = torch.ones(batch, count, dtype=torch.bool)
        readable[-1, 1:] = False
        with torch.inference_mode():
            state = pairs.side(query.to(pairs.token.device))
        examples.append((*state, target, readable))
    return examples
