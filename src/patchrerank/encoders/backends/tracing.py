"""A network with its normalisation as one torch module, and the recording of what it computes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from patchrerank.encoders.backends.torch_eager import multiply_add
from patchrerank.encoders.network import Network

EXAMPLES = 2
"""Crops in the batch that is traced; a size of 1 would be taken for one that never changes."""


class FromPixels(nn.Module):
    """uint8 ``(B, height, width, 3)`` to ``(B, d)``: normalises, then runs the network."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network.module.eval().requires_grad_(False)
        scale, shift = multiply_add(network.preprocessing, "cpu")
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return the network's output."""
        pixels = crops.permute(0, 3, 1, 2).float() * self.scale + self.shift
        vectors: torch.Tensor = self.network(pixels)
        return vectors


def example_crops(network: Network) -> torch.Tensor:
    """Return grey crops, uint8 ``(2, height, width, 3)``."""
    height, width = network.preprocessing.image_size
    return torch.full((EXAMPLES, height, width, 3), 128, dtype=torch.uint8)


@contextmanager
def recording() -> Iterator[None]:
    """Let torch record a network in plain operations, without its warnings about recording.

    Attention's fused fast path, which exists in torch alone, is off meanwhile.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


def record(module: nn.Module, example: tuple[torch.Tensor, ...]) -> torch.jit.ScriptModule:
    """Record what a module computes, as it computes it for an example."""
    with recording():
        made: torch.jit.ScriptModule = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
    return made


def trace(network: Network) -> torch.jit.ScriptModule:
    """Record what the network computes for a batch of crops; takes any number of them."""
    return record(FromPixels(network), (example_crops(network),))
