"""What a device itself can do: reading and copying its memory, and matrix products."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from patchrerank.bench.machine import processor_name
from patchrerank.bench.rounds import Contestant
from patchrerank.kernels.devices import open_device

MEMORY = "device: memory"
PRODUCT = "device: matrix product"
MOST_BYTES = 1 << 30
"""Of the buffer that is read: much more than any cache, and read again until it is enough."""
SIDES = {"cuda": 8192, "mps": 4096, "cpu": 512}
"""Of the square matrices that are multiplied."""


def device_name(name: str) -> str:
    """Return what the card, or the processor, calls itself.

    Raises:
        SettingError: there is no such device.
    """
    device = open_device(name)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {device.type}"


def wait_for(device: torch.device) -> None:
    """Wait for all that was launched there."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def memory_bounds(device: torch.device, size: int) -> list[Contestant]:
    """Return contestants that move ``size`` bytes of the device's memory, two ways."""
    words = max(1, min(size, MOST_BYTES) // 4)
    source = torch.ones(words, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    turns = max(1, round(size / (4 * words)))

    def read(_: Any) -> None:
        for _turn in range(turns):
            source.sum()
        wait_for(device)

    def copy(_: Any) -> None:
        for _turn in range(turns):
            target[: words // 2].copy_(source[: words // 2])  # bytes read, and as many written
        wait_for(device)

    return [
        Contestant(f"{MEMORY}, read", read, compare=False),
        Contestant(f"{MEMORY}, copied", copy, compare=False),
    ]


def product_bounds(device: torch.device) -> tuple[list[Contestant], int]:
    """Return contestants that multiply square matrices, one a precision, and their side."""
    side = SIDES.get(device.type, SIDES["mps"])

    def multiply(matrix: torch.Tensor, _: Any) -> None:
        _product = matrix @ matrix
        wait_for(device)

    made = []
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        matrix = torch.ones(side, side, dtype=dtype, device=device)
        name = f"{PRODUCT}, {str(dtype).removeprefix('torch.')}"
        made.append(Contestant(name, partial(multiply, matrix), compare=False))
    return made, side
