"""Small torch modules around other people's networks, so that each returns one vector an image."""

from __future__ import annotations

import torch
from torch import nn


class PooledMap(nn.Module):
    """The spatial mean of a network's last feature map, ``(B, d)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return ``(B, d)`` for normalised ``(B, 3, H, W)``."""
        features: torch.Tensor = self.network.extract_features(pixels)  # type: ignore[operator]
        return features.mean((2, 3))


class FirstOutput(nn.Module):
    """The first output of a network that returns several (CoCa: pooled vector, then tokens)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return ``(B, d)`` for normalised ``(B, 3, H, W)``."""
        first: torch.Tensor = self.network(pixels)[0]
        return first
