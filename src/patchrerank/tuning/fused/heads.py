"""The head of the lists while a cascade re-sorts it, stage by stage.

Slots are places in the flattened ``(Q, K)`` arrays of a table, since one flat index moves an
array several times faster than an index along an axis does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.fusion import fuse
from patchrerank.types import Floats, Rows

Array = npt.NDArray[Any]
BLOCK = 64
"""Queries sorted at a time, so that what they need stays in the processor's cache."""


@dataclass
class Head:
    """The part that is rescored, in its present order; ``(Q, n)``.

    Attributes:
        slots: int64, where each candidate stands in the flattened table.
        scores: float32, fused.
    """

    slots: Rows
    scores: Floats

    def advance(self, lam: float, gamma: float, local: Floats, empty: Array | None) -> None:
        """Fuse and re-sort the first columns, as many as ``local`` ``(Q, size)`` has.

        Args:
            lam, gamma: λ and γ; ties keep the present order.
            local: their local scores.
            empty: bool ``(Q, size)``, which of them are empty slots; None: none.
        """
        size = local.shape[1]
        slots, fused = np.empty(local.shape, dtype=np.int64), np.empty(local.shape, np.float32)
        for start in range(0, len(local), BLOCK):
            part = slice(start, start + BLOCK)
            hollow = None if empty is None else empty[part]
            order, exact = _sorted(lam, gamma, self.scores[part, :size], local[part], hollow)
            np.take(self.slots[part, :size], order, out=slots[part])
            np.take(exact.astype(np.float32), order, out=fused[part])
        self.slots = joined(slots, self.slots)
        self.scores = joined(fused, self.scores)


def _sorted(
    lam: float, gamma: float, before: Floats, local: Floats, empty: Array | None
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Return the new order as flat places within the block, and the fused scores as they stand."""
    exact = fuse(before, local, lam, gamma)
    by: Array = local if lam == 0 and gamma > 0 else exact
    if empty is not None:
        by, exact = np.where(empty, -np.inf, by), np.where(empty, -np.inf, exact)
    return _flat(descending(by)), exact


def descending(keys: Array) -> Rows:
    """Return the stable order ``(Q, n)`` of keys ``(Q, n)``, highest first.

    The quick sort is several times faster than the stable one and differs from it only in rows
    that hold equal keys; these are sorted again.
    """
    falling = -keys
    order = np.argsort(falling, axis=1)
    ordered = falling.take(_flat(order))
    tied = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    if tied.size:
        order[tied] = np.argsort(falling[tied], axis=1, kind="stable")
    return order


def joined(front: Array, whole: Array) -> Array:
    """Return ``whole`` ``(Q, n)`` with its first columns replaced by ``front``."""
    size = front.shape[1]
    return front if size == whole.shape[1] else np.concatenate([front, whole[:, size:]], axis=1)


def _flat(places: Rows) -> Rows:
    """Turn places within each row into places in the flattened array."""
    starts: Rows = places.shape[1] * np.arange(len(places), dtype=np.int64)[:, None]
    return places + starts
