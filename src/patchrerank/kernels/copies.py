"""Arrays copied to a device, and back, without waiting for each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from patchrerank.kernels._torch import Tensor


def sent(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Return an array on a device; of a pinned copy, nobody waits for its arrival.

    On the CPU it may be the array's own memory.
    """
    given = torch.from_numpy(np.require(array, requirements=["C", "W", "A"]))
    if device.type != "cuda":
        return given.to(device)
    return given.pin_memory().to(device, non_blocking=True)


def fetched(device: torch.device, *tensors: Tensor) -> list[npt.NDArray[Any]]:
    """Return tensors as arrays on the host, after one wait."""
    if device.type != "cuda":
        return [tensor.cpu().numpy() for tensor in tensors]
    pinned = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in tensors]
    for there, here in zip(tensors, pinned, strict=True):
        here.copy_(there, non_blocking=True)
    torch.cuda.current_stream(device).synchronize()
    return [tensor.numpy() for tensor in pinned]
