"""What a network does behind the mean of its last feature map, if its vector is made of that."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from patchrerank.encoders.network import Network
from patchrerank.encoders.towers import FirstOutput, PooledMap
from patchrerank.errors import EncoderError


class PooledHead(nn.Module):
    """Nothing: the vector is the mean of the map. The base of all here."""

    def forward(self, means: torch.Tensor) -> torch.Tensor:
        """Return vectors ``(P, d)`` for means of regions of the map, ``(P, D)``."""
        return means


class TimmHead(PooledHead):
    """A timm model's head, given maps of one cell."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, means: torch.Tensor) -> torch.Tensor:
        """Return the head's output."""
        network: Any = self.network
        if hasattr(network, "num_prefix_tokens"):
            zeros = means.new_zeros(len(means), int(network.num_prefix_tokens), means.shape[1])
            found = network.forward_head(torch.cat([zeros, means[:, None]], dim=1))
        elif str(getattr(network, "output_fmt", "NCHW")) == "NHWC":
            found = network.forward_head(means[:, None, None])
        else:
            found = network.forward_head(means[:, :, None, None])
        flat: torch.Tensor = found.flatten(1)
        return flat


class ClipTimmHead(TimmHead):
    """The head of a timm trunk in OpenCLIP, and the projection behind it."""

    def __init__(self, tower: Any) -> None:
        super().__init__(tower.trunk)
        self.projection = tower.head

    def forward(self, means: torch.Tensor) -> torch.Tensor:
        """Return the projection's output."""
        projected: torch.Tensor = self.projection(super().forward(means))
        return projected


def open_pooled_head(network: Network) -> PooledHead:
    """Return what stands behind the pooling of a loaded network; whether it fits must be tried.

    Raises:
        EncoderError: a kind of network whose vector is not made from its map's mean.
    """
    module: Any = network.module
    if network.architecture.startswith("module:") or isinstance(module, PooledMap):
        return PooledHead()
    if network.architecture.startswith("timm:"):
        return TimmHead(module)
    tower = module.network if isinstance(module, FirstOutput) else module
    if hasattr(tower, "trunk"):
        return ClipTimmHead(tower)
    raise EncoderError(
        f"{network.architecture}: no way from regions of its feature map to its vectors "
        f"({type(tower).__name__} pools by attention or a class token); one pass needs a network "
        "that averages its last map, such as efficientnet_lite0, a ResNet or a ConvNeXt"
    )
