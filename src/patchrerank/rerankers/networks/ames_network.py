"""AMES: how similar are two sets of local descriptors?

Source: Suma, Kordopatis-Zilos, Iscen, Tolias, "AMES: Asymmetric and Memory-Efficient Similarity
Estimation for Instance-level Retrieval", ECCV 2024 (arXiv 2408.03282).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrerank.rerankers.networks.configs import AmesConfig
from patchrerank.rerankers.networks.projection import INITIAL_STD, PairNetwork
from patchrerank.rerankers.networks.transformer import Decoder


class AmesNetwork(PairNetwork):
    """The similarity network of AMES, for training and as the plain form of what reranking does.

    A token reads the descriptors of both images through layers of attention, within an image and
    across; a linear head turns it into one logit a pair. No positions take part. In evaluation
    the full-precision network rounds the target's projected descriptors to half precision, as if
    they came from a 16-bit store; so a score changes a little when the roles are exchanged.

    Args:
        config: the architecture. Weights are drawn from torch's generator.
    """

    config: AmesConfig

    def __init__(self, config: AmesConfig | None = None) -> None:
        settings = config or AmesConfig()
        super().__init__(settings.local_dim, settings.model_dim, binarized=settings.binarized)
        self.config = settings
        self.mtc_token = nn.Parameter(torch.empty(self.model_dim))
        self.decoder = Decoder(settings)
        self.classifier = nn.Linear(self.model_dim, 1)
        nn.init.trunc_normal_(self.mtc_token, std=INITIAL_STD)
        self.apply(_draw)

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes ``(…, D)`` of descriptors ``(…, D0)``, whose length does not matter."""
        return super().codes(functional.normalize(vectors, dim=-1))

    def stored(self, codes: Tensor) -> Tensor:
        """Return floats rounded to half precision (not in training), signs as they are."""
        if self.training or self.binarized:
            return codes
        return codes.half().to(codes.dtype)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the logit of each pair.

        Args:
            src: float32 ``(B, Q, D0)``, descriptors of the query images.
            tgt: float32 ``(B, T, D0)``, descriptors of the gallery images.
            src_mask: bool ``(B, Q)``, True in padded slots, which have no influence; None: none.
            tgt_mask: bool ``(B, T)``, likewise.

        Returns:
            float32 ``(B,)``; higher is more similar.
        """
        return self.head(self.tokens(src, tgt, src_mask, tgt_mask))

    def tokens(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the last layer's output ``(B, 1 + Q + T, D)``: token, query, target."""
        token = self.mtc_token.expand(len(src), 1, -1)
        x = torch.cat([token, self.query_side(src), self.gallery_side(tgt)], dim=1)
        same, other = _who_reads_whom(_mask(src, src_mask), _mask(tgt, tgt_mask))
        for layer in self.decoder.stack:
            x = layer(x, same, other)
        return self.decoder.last(x)

    def head(self, tokens: Tensor) -> Tensor:
        """Return logits ``(B,)`` of :meth:`tokens`."""
        logits: Tensor = self.classifier(tokens[:, 0])
        return logits.squeeze(-1)


def _mask(vectors: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None:
        return mask
    return torch.zeros(vectors.shape[:2], dtype=torch.bool, device=vectors.device)


def _who_reads_whom(src_mask: Tensor, tgt_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return bool ``(B, 1, L, L)`` for self- and for cross-attention.

    The token (position 0) reads all and is read by all; padded positions are never read.
    """
    free = torch.zeros_like(src_mask[:, :1])
    padded = torch.cat([free, src_mask, tgt_mask], dim=1)
    side = torch.zeros(padded.shape[1], dtype=torch.int8, device=padded.device)
    side[1 : 1 + src_mask.shape[1]], side[1 + src_mask.shape[1] :] = 1, 2
    equal = side[:, None] == side
    token = (side[:, None] == 0) | (side == 0)
    readable = ~padded[:, None, None, :]
    return (equal | token) & readable, (~equal | token) & readable


def _draw(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=INITIAL_STD)
        nn.init.zeros_(module.bias)
