"""ELViS: local descriptors vote for the similarity of two images.

Source: Suma, Kordopatis-Zilos, Kalantidis, Tolias, "ELViS: Efficient Visual Similarity from Local
Descriptors that Generalizes Across Domains", ICLR 2026 (arXiv 2603.28603).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrerank.rerankers.networks.configs import ElvisConfig
from patchrerank.rerankers.networks.projection import PairNetwork
from patchrerank.rerankers.networks.sinkhorn import log_transport

VOTE_EPS = 1e-6
"""Of the layer norm between a match and its vote."""


class Matching(NamedTuple):
    """How the descriptors of B pairs match.

    Attributes:
        transport: ``(B, m, n)``, the logarithm of each match's share of its descriptors' mass.
        best: ``(B, m + n)``, the largest share of each query, then each target descriptor.
        logits: ``(B, m + n)``, their votes in front of the sigmoid.
        votes: ``(B, m + n)``, in [0, 1]; 0 for padded descriptors.
    """

    transport: Tensor
    best: Tensor
    logits: Tensor
    votes: Tensor


class ElvisNetwork(PairNetwork):
    """The similarity network of ELViS, for training and as the plain form of what reranking does.

    Descriptors of both images are matched by optimal transport, in which each may go to a dust
    bin; a descriptor's best match is its vote, and the sum of votes is the score. As published,
    a score depends on how many padded slots there are: they count among the members of the sets.
    It is not symmetric, since Sinkhorn's iterations are few and end with the target's.

    Args:
        config: the architecture. Weights are drawn from torch's generator.
    """

    config: ElvisConfig

    def __init__(self, config: ElvisConfig | None = None) -> None:
        settings = config or ElvisConfig()
        dim = settings.model_dim
        super().__init__(settings.local_dim, dim, binarized=settings.binarized)
        self.config = settings
        self.dust_bin = nn.Parameter(torch.tensor(1.0))
        self.dust_bin_mlp = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, 1))
        self.f = nn.Sequential(
            nn.Linear(1, settings.embed_dim),
            nn.LayerNorm(settings.embed_dim, eps=VOTE_EPS),
            nn.GELU(),
            nn.Linear(settings.embed_dim, 1),
        )
        self.g = nn.Sequential(
            nn.Linear(1, settings.proj_dim), nn.GELU(), nn.Linear(settings.proj_dim, 1)
        )
        self.apply(_draw)

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes ``(…, D)`` of descriptors ``(…, D0)``: unit vectors, or signs."""
        codes = super().codes(vectors)
        return codes if self.binarized else functional.normalize(codes, dim=-1)

    def from_codes(self, codes: Tensor) -> Tensor:
        """Return unit vectors ``(…, D)``."""
        found = super().from_codes(codes)
        return functional.normalize(found, dim=-1) if self.binarized else found

    def dust(self, vectors: Tensor) -> Tensor:
        """Return ``(…)`` in (−1, 1): the score of projected descriptors for the dust bin."""
        scores: Tensor = self.dust_bin_mlp(vectors)
        return scores.squeeze(-1).tanh()

    def vote_logits(self, best: Tensor) -> Tensor:
        """Return the votes of best matches ``(…)`` in front of the sigmoid."""
        logits: Tensor = self.f(best.unsqueeze(-1))
        return logits.squeeze(-1)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the score of each pair.

        Args:
            src: float32 ``(B, m, D0)``, descriptors of the query images.
            tgt: float32 ``(B, n, D0)``, descriptors of the gallery images.
            src_mask: bool ``(B, m)``, True in padded slots.
            tgt_mask: bool ``(B, n)``, likewise; if either is None, both are ignored.

        Returns:
            float32 ``(B,)``: the sum of votes, between 0 and the number of descriptors; in
            training mode a logit made of it. Higher is more similar.
        """
        total = self.match(src, tgt, src_mask, tgt_mask).votes.sum(dim=1)
        if not self.training:
            return total
        logits: Tensor = self.g(total.unsqueeze(-1))
        return logits.squeeze(-1)

    def match(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
    ) -> Matching:
        """Return how the descriptors match and vote; arguments as in :meth:`forward`."""
        query, target = self.query_side(src), self.gallery_side(tgt)
        scores = self.augmented(query, target)
        valid = None
        if src_mask is not None and tgt_mask is not None:
            padded = src_mask.unsqueeze(2) | tgt_mask.unsqueeze(1)
            scores = scores.masked_fill(functional.pad(padded, (0, 1, 0, 1)), -torch.inf)
            valid = ~torch.cat([src_mask, tgt_mask], dim=1)
        plan = log_transport(self.config.temperature * scores, self.config.iterations)
        transport = plan[:, :-1, :-1]
        best = torch.cat([transport.amax(dim=2), transport.amax(dim=1)], dim=1).exp()
        logits = self.vote_logits(best)
        votes = logits.sigmoid() if valid is None else logits.sigmoid() * valid
        return Matching(transport, best, logits, votes)

    def augmented(self, query: Tensor, target: Tensor) -> Tensor:
        """Return ``(B, m + 1, n + 1)``: cosines of projected descriptors, and the bins' scores."""
        cosines = query @ target.transpose(1, 2)
        rows = torch.cat([cosines, self.dust(query).unsqueeze(2)], dim=2)
        corner = self.dust_bin.expand(len(query), 1)
        last = torch.cat([self.dust(target), corner], dim=1).unsqueeze(1)
        return torch.cat([rows, last], dim=1)


def _draw(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
