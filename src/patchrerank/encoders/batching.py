"""Crops that come in parts, cut into batches without copying what need not be copied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from patchrerank.encoders.preprocessing import Crops


def batches(parts: Iterable[Crops], size: int) -> Iterator[Crops]:
    """Yield batches of ``size`` crops, and a smaller last one, as soon as they are complete.

    Args:
        parts: uint8 ``(B, height, width, 3)`` each; ``B`` may be 0. Taken one by one.
        size: crops in a batch, at least 1.

    Yields:
        uint8 ``(size, height, width, 3)``: a view where a batch lies within one part, a copy
        where it spans several.
    """
    begun: list[Crops] = []
    for part in parts:
        at = 0
        if begun:
            at = min(size - sum(map(len, begun)), len(part))
            begun.append(part[:at])
            if sum(map(len, begun)) < size:
                continue
            yield np.concatenate(begun)
        whole = at + (len(part) - at) // size * size
        for start in range(at, whole, size):
            yield part[start : start + size]
        begun = [part[whole:]] if whole < len(part) else []
    if begun:
        yield begun[0] if len(begun) == 1 else np.concatenate(begun)
