"""How a descriptor enters a learned reranker: projected, or reduced to signs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig

SOFTNESS = math.sqrt(2e-6)
"""In training the sign of z is erf(z / SOFTNESS), which has a gradient."""

INITIAL_STD = 0.02


class Binarise(nn.Module):
    """The signs of D projections of a direction: −1, 0 or +1; sign(0) = 0.

    In training mode erf(z / √2e-6) stands for the sign of z.

    Attributes:
        W: float32 ``(D0, D)``, multiplied from the right; in the papers ITQ's rotated PCA.
    """

    W: nn.Parameter

    def __init__(self, local_dim: int, model_dim: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(local_dim, model_dim))
        nn.init.normal_(self.W, std=1 / math.sqrt(local_dim))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return ``(…, D)`` for ``(…, D0)``; the length of a vector does not matter."""
        projected = functional.normalize(vectors, dim=-1) @ self.W
        return torch.erf(projected / SOFTNESS) if self.training else torch.sign(projected)


class PairNetwork(nn.Module):
    """A network that scores pairs of sets of descriptors.

    Descriptors pass through :meth:`codes`, which is all that has to be stored of a gallery, and
    :meth:`from_codes`; from then on they have ``model_dim`` dimensions.

    Args:
        local_dim: D0.
        model_dim: D.
        binarized: whether codes are signs.
    """

    config: AmesConfig | ElvisConfig
    remap_local: nn.Sequential

    def __init__(self, local_dim: int, model_dim: int, *, binarized: bool) -> None:
        super().__init__()
        self.local_dim, self.model_dim, self.binarized = local_dim, model_dim, binarized
        norm = nn.LayerNorm(model_dim)
        if binarized:
            inner = nn.Linear(model_dim, model_dim)
            self.remap_local = nn.Sequential(Binarise(local_dim, model_dim), inner, norm)
        else:
            self.remap_local = nn.Sequential(nn.Linear(local_dim, model_dim), norm)

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes ``(…, D)`` of descriptors ``(…, D0)``: floats, or signs."""
        codes: Tensor = (
            self.remap_local[0](vectors) if self.binarized else self.remap_local(vectors)
        )
        return codes

    def from_codes(self, codes: Tensor) -> Tensor:
        """Return descriptors ``(…, D)`` as the matching layers take them."""
        if not self.binarized:
            return codes
        found: Tensor = self.remap_local[2](self.remap_local[1](codes))
        return found

    def stored(self, codes: Tensor) -> Tensor:
        """Return gallery codes as if read back from a store; the same where nothing is rounded."""
        return codes

    def query_side(self, vectors: Tensor) -> Tensor:
        """Return descriptors ``(…, D)`` of the query for ``(…, D0)``."""
        return self.from_codes(self.codes(vectors))

    def gallery_side(self, vectors: Tensor) -> Tensor:
        """Return descriptors ``(…, D)`` of the gallery for ``(…, D0)``."""
        return self.from_codes(self.stored(self.codes(vectors)))


def coding_digest(network: PairNetwork) -> str:
    """Return a digest of the weights that make codes: equal digests, equal codes."""
    coding: nn.Module = network.remap_local[0] if network.binarized else network.remap_local
    return weights_digest(coding.state_dict())


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 (hexadecimal) of names, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        values = tensor.detach().float().cpu().contiguous().numpy()
        digest.update(f"{name}{values.shape}".encode() + values.tobytes())
    return digest.hexdigest()
