"""Best patches and best matches in torch: the arithmetic, on any device that torch knows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from patchrerank.errors import short_reason

Tensor: TypeAlias = torch.Tensor

BLOCK_BYTES = 256 * 1024 * 1024
"""Decoded rows that are on a device at one time, beside those that are kept there."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows on a device.

    Attributes:
        data: ``(R, d)`` float32, float16, or int8 with a factor each; or uint8 ``(R, m)``, codes
            of a product quantiser.
        scales: float32 ``(R,)``, the factors of int8 rows; else None.
        boxes: float32 ``(R, 4)``, where each row was seen; None: nobody asks.
        centroids: float32 ``(m, c, d / m)`` of a product quantiser; else None.
    """

    data: Tensor
    scales: Tensor | None = None
    boxes: Tensor | None = None
    centroids: Tensor | None = None

    def decoded(self, rows: Tensor) -> Tensor:
        """Return rows ``(…)`` as float32 ``(…, d)``."""
        if self.centroids is not None:
            parts = torch.arange(len(self.centroids), device=rows.device)
            return self.centroids[parts, self.data[rows].long()].flatten(-2)
        found = self.data[rows].float()
        return found if self.scales is None else found * self.scales[rows].unsqueeze(-1)


def best_patches(
    table: Table, queries: Tensor, owners: Tensor, begins: Tensor, counts: Tensor, width: int
) -> tuple[Tensor, Tensor]:
    """Return the best score and the lowest number of a patch that has it.

    On CUDA the rows are read once, by a kernel that torch compiles; elsewhere block by block.

    Args:
        table: the rows.
        queries: float32 ``(Q, d)``.
        owners: int64 ``(n,)``, whose query each slot is.
        begins: int64 ``(n,)``, first row of each slot.
        counts: int64 ``(n,)``, its rows; may be 0.
        width: the largest of ``counts``.

    Returns:
        float32 ``(n,)``, −inf where there are no rows, and int64 ``(n,)``, there -1.
    """
    numbers = torch.arange(width, device=begins.device)
    score: Callable[..., Tensor] = _multiplied
    held: tuple[Tensor | None, ...] = (table.data, queries, table.scales)
    if table.centroids is not None:
        parts, codes, _ = table.centroids.shape
        pieces = queries.view(len(queries), parts, -1)
        looked = torch.einsum("qjs,jcs->qjc", pieces, table.centroids).flatten(1)
        score = _looked_up
        held = (table.data, looked, torch.arange(parts, device=begins.device) * codes)
    if begins.is_cuda:
        fused = _summed if table.centroids is None else score
        made: tuple[Tensor, Tensor] | None
        made = FUSED(_best_of, fused, held, owners, begins, counts, numbers)
        if made is not None:
            return made
    block = max(1, BLOCK_BYTES // (8 * width * int(table.data.shape[1])))
    found = []
    for start in range(0, len(owners), block):
        own, begin, count = (part[start : start + block] for part in (owners, begins, counts))
        found.append(_best_of(score, held, own, begin, count, numbers))
    return torch.cat([best for best, _ in found]), torch.cat([winners for _, winners in found])


class Compiled:
    """Calls functions as ``torch.compile`` makes them, until that fails.

    It needs Triton, which comes with torch's builds for CUDA on Linux; elsewhere, and where a
    compilation fails, the caller takes the plain way, which is slower. That is logged once.
    """

    def __init__(self) -> None:
        self._made: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.works = True

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function returns; None: it cannot be compiled."""
        if not self.works:
            return None
        if function not in self._made:
            self._made[function] = torch.compile(function, dynamic=True)
        try:
            return self._made[function](*arguments)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:
            self.works = False
            logger.warning(
                "scored by plain torch, which reads rows several times, since torch.compile does "
                "not work here: %s",
                short_reason(error),
            )
            return None


FUSED = Compiled()


def _best_of(
    score: Callable[..., Tensor],
    held: tuple[Tensor | None, ...],
    owners: Tensor,
    begins: Tensor,
    counts: Tensor,
    numbers: Tensor,
) -> tuple[Tensor, Tensor]:
    there = numbers < counts[:, None]
    rows = begins[:, None] + torch.where(there, numbers, 0)
    scores = score(*held, owners, rows).masked_fill(~there, -torch.inf)
    best, winners = first_best(scores, numbers)
    return best, torch.where(counts > 0, winners, -1)


def first_best(scores: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best of ``(n, width)`` or ``(n, width, m)`` along ``width``, the first's number.

    ``numbers``: 0 … width - 1.
    """
    best = scores.amax(dim=1)
    counted = numbers.view(-1, *[1] * (scores.ndim - 2))
    first = torch.where(scores == best.unsqueeze(1), counted, len(numbers))
    return best, first.amin(dim=1)


def _multiplied(
    data: Tensor, queries: Tensor, scales: Tensor | None, owners: Tensor, rows: Tensor
) -> Tensor:
    found = torch.bmm(data[rows].float(), queries[owners].unsqueeze(2)).squeeze(2)
    return found if scales is None else found * scales[rows]


def _summed(
    data: Tensor, queries: Tensor, scales: Tensor | None, owners: Tensor, rows: Tensor
) -> Tensor:
    """The same, in a form that compiles to one loop over the rows, none of which is copied."""
    found = (data[rows].float() * queries[owners].unsqueeze(1)).sum(dim=2)
    return found if scales is None else found * scales[rows]


def _looked_up(data: Tensor, looked: Tensor, steps: Tensor, owners: Tensor, rows: Tensor) -> Tensor:
    """Sum the inner products ``(Q, m c)`` of the centroids that codes name."""
    found: Tensor = looked[owners[:, None, None], data[rows].long() + steps].sum(dim=2)
    return found
