"""Arrays copied to a device, and back, without waiting for each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
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


def send_ahead(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Return an array on a device, which goes there while work that was launched before runs."""
    if device.type != "cuda":
        return sent(array, device)
    stream, now = _copying(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(stream):
        there = sent(array, device)
    now.wait_stream(stream)
    there.record_stream(now)
    return there


def begin_fetch(tensor: Tensor) -> Callable[[], npt.NDArray[Any]]:
    """Begin to copy a tensor to the host; what is returned waits for it, and returns the array."""
    if tensor.device.type != "cuda":
        return lambda: np.ascontiguousarray(tensor.cpu().numpy())
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    pinned.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record(torch.cuda.current_stream(tensor.device))

    def fetch() -> npt.NDArray[Any]:
        done.synchronize()
        return np.array(pinned.numpy())  # pinned memory is for others

    return fetch


@cache
def _copying(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
