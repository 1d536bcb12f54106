"""What the machine itself can do: sequential read bandwidth and matrix products, one thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.bench.rounds import Contestant

READ = "machine: sequential read"
GEMM = "machine: matrix product"
GEMM_SIZE = 768


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


def multiplier() -> Contestant:
    """Return a contestant that multiplies two square float32 matrices by BLAS."""
    generator = np.random.default_rng(0)
    left = generator.standard_normal((GEMM_SIZE, GEMM_SIZE), dtype=np.float32)
    out = np.empty_like(left)
    return Contestant(GEMM, lambda _: np.matmul(left, left, out=out), compare=False)
