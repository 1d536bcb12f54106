"""Small torch modules around other people's networks, so that each returns one vector an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import nn


class LibraryNetwork(Protocol):
    """What is called of the networks of other libraries, each of which has some of it."""

    def extract_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the map in front of the pooling (EfficientNet)."""
        ...

    def forward_features(self, pixels: torch.Tensor) -> object:
        """Return the last map or tokens, for most models one tensor (timm)."""
        ...

    def set_input_size(self, *, img_size: tuple[int, int]) -> None:
        """Resample the position embedding (transformers of timm)."""
        ...

    def forward_intermediates(
        self, pixels: torch.Tensor, **how: object
    ) -> dict[str, Sequence[torch.Tensor]]:
        """Return the tokens after chosen layers (OpenCLIP)."""
        ...


class PooledMap(nn.Module):
    """The spatial mean of a network's last feature map, ``(B, d)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return ``(B, d)`` for normalised ``(B, 3, H, W)``."""
        return cast(LibraryNetwork, self.network).extract_features(pixels).mean((2, 3))


class FirstOutput(nn.Module):
    """The first output of a network that returns several (CoCa: pooled vector, then tokens)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return ``(B, d)`` for normalised ``(B, 3, H, W)``."""
        first: torch.Tensor = self.network(pixels)[0]
        return first
