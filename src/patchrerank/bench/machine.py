"""What the machine itself can do: sequential read bandwidth and matrix products, one thread."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.bench.rounds import Contestant, require
from patchrerank.kernels.jit import target_processor

READ = "machine: sequential read"
GEMM = "machine: matrix product"
GEMM_SIZE = 768

_CPU_INFO = Path("/proc/cpuinfo")


def processor_name() -> str:
    """Return what the processor calls itself, and what kernels are compiled for."""
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{named[0] if named else platform.machine()} ({target_processor()})"


def reader(data: npt.NDArray[Any], size: int) -> Contestant:
    """Return a contestant that reads ``size`` bytes in sequence, somewhere in ``data``."""
    flat = data.reshape(-1).view(np.uint8)
    words = flat[: len(flat) // 8 * 8].view(np.int64)
    count = min(size // 8, len(words))

    def read(shortlist: Any) -> int:
        from patchrerank.bench._read import total

        room = len(words) - count
        start = int(np.asarray(shortlist).ravel()[0]) * 7919 % (room + 1)
        return int(total(words[start : start + count]))

    return Contestant(READ, read, compare=False)


def multipliers() -> list[Contestant]:
    """Return contestants that multiply two square float32 matrices: by numpy, and by torch."""
    left = np.random.default_rng(0).standard_normal((GEMM_SIZE, GEMM_SIZE), dtype=np.float32)
    out = np.empty_like(left)

    def by_torch(_: Any) -> None:
        torch = require("torch")
        tensor = torch.from_numpy(left)
        torch.mm(tensor, tensor, out=torch.from_numpy(out))

    return [
        Contestant(f"{GEMM}, numpy", lambda _: np.matmul(left, left, out=out), compare=False),
        Contestant(f"{GEMM}, torch", by_torch, compare=False),
    ]
