"""Scores that were made on a device: fused and sorted there, or brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from patchrerank.kernels.copies import fetched
from patchrerank.kernels.on_device import Products, products_on_device
from patchrerank.types import EMPTY, Floats, LocalScores, Ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from patchrerank.fusion import Fusion
    from patchrerank.kernels.held_rows import HeldRows
    from patchrerank.types import Rows

Tensor = torch.Tensor


def brought_back(scores: Tensor, boxes: Tensor | None) -> LocalScores:
    """Return scores ``(Q, K)`` and boxes ``(Q, K, 4)``, NaN where nobody knows them, as arrays."""
    if boxes is None:
        boxes = torch.full((*scores.shape, 4), torch.nan, device=scores.device)
    found, where = fetched(scores.device, scores, boxes)
    return LocalScores(found, where)


@torch.inference_mode()
def resorted(
    fusion: Fusion, ranking: Ranking, scores: Tensor, boxes: Tensor | None, held: HeldRows
) -> Ranking:
    """Fuse and sort the head of a ranking on the device, as :meth:`Fusion.apply` does.

    What comes back is the head in its new order. A device without float64 (MPS) leaves it to the
    host.

    Args:
        fusion: λ and γ.
        ranking: ``(Q, K)`` candidates.
        scores: float32 ``(Q, k)``, local scores of the first k.
        boxes: float32 ``(Q, k, 4)``; None: nobody knows them.
        held: on whose device.
    """
    if scores.device.type == "mps" or not scores.numel():
        return fusion.apply(ranking, brought_back(scores, boxes))
    size = scores.shape[1]
    rows, first, global_scores, _, old = (
        held.sent(np.ascontiguousarray(table[:, :size])) for table in ranking.tables
    )
    exact = _fused(first, scores, fusion.lam, fusion.gamma)
    value = scores.double() if fusion.lam == 0 and fusion.gamma > 0 else exact
    keys = value.masked_fill(rows == EMPTY, -torch.inf) + 0.0  # never -0
    order = keys.argsort(dim=1, descending=True, stable=True)
    fused = exact.masked_fill(rows == EMPTY, -torch.inf).float()
    where = old if boxes is None else torch.where(_unknown(boxes), old, boxes)
    head = [table.gather(1, order) for table in (rows, fused, global_scores, scores)]
    head.append(where.gather(1, order.unsqueeze(2).expand(-1, -1, 4)))
    found = fetched(scores.device, *head)
    if size == ranking.rows.shape[1]:
        return ranking.with_tables(tuple(found))
    tails = (table[:, size:] for table in ranking.tables)
    joined = (np.concatenate(pair, axis=1) for pair in zip(found, tails, strict=True))
    return ranking.with_tables(tuple(joined))


def _unknown(boxes: Tensor) -> Tensor:
    return boxes.isnan().any(dim=2, keepdim=True)


def _fused(first: Tensor, local: Tensor, lam: float, gamma: float) -> Tensor:
    """Return λ·g + (1−λ)·σ(γ·l) in float64; see :func:`patchrerank.fusion.fuse`."""
    local = local.double()
    sigmoid = (gamma * local).sigmoid() if gamma > 0 else torch.full_like(local, 0.5)
    found = torch.zeros_like(local)
    if lam > 0:
        found = found + lam * first.double()
    return found + (1.0 - lam) * sigmoid if lam < 1 else found


@torch.inference_mode()
def chamfer_on_device(
    held: HeldRows,
    sets: Sequence[Floats],
    rows: Rows,
    best: int | None,
    outliers: float,
    *,
    symmetric: bool,
) -> tuple[Tensor, Tensor]:
    """Return Chamfer similarity ``(Q, K)`` and boxes ``(Q, K, 4)``, as ``Chamfer`` finds them.

    Args:
        held: the candidates' descriptors, with the cells where they lie as boxes.
        sets: the descriptors of each query.
        rows: int64 ``(Q, K)``.
        best: how many best matches count; None: all.
        outliers: share of the matches that the box leaves out on each side.
        symmetric: whether the mean of both directions is taken.
    """
    scores = torch.full((rows.size,), -torch.inf, device=held.device)
    boxes = torch.full((rows.size, 4), torch.nan, device=held.device)
    sizes = np.array([len(own) for own in sets], dtype=np.int64)
    kept = sizes if best is None else np.minimum(sizes, best)
    left_out = held.sent(np.array([int(outliers * count) for count in kept], dtype=np.int64))
    counted = held.sent(sizes), held.sent(kept)
    for block in products_on_device(held, sets, rows):
        own, used = (part[block.owners] for part in counted)
        values, places = block.best()
        numbers = torch.arange(values.shape[1], device=held.device)
        ordered = values.masked_fill(numbers >= own[:, None], -torch.inf)
        ordered, order = ordered.sort(dim=1, descending=True, stable=True)
        found = _mean_of_first(ordered, used)
        if symmetric:
            found = (found + _backwards(block, own, best)) / 2
        nothing = ~block.there[:, 0] | (own == 0)
        scores[block.slots] = found.masked_fill(nothing, -torch.inf)
        assert block.table.boxes is not None
        cells = block.table.boxes[places.gather(1, order)]
        own_box = _bounds(cells, numbers < used[:, None], used, left_out[block.owners])
        boxes[block.slots] = own_box.masked_fill(nothing.unsqueeze(1), torch.nan)
    return scores.view(*rows.shape), boxes.view(*rows.shape, 4)


def _mean_of_first(ordered: Tensor, counts: Tensor) -> Tensor:
    """Return the mean of each row's first values, ``(n, m)`` with counts ``(n,)``."""
    numbers = torch.arange(ordered.shape[1], device=ordered.device)
    first = torch.where(numbers < counts[:, None], ordered, 0.0)
    return first.sum(dim=1) / counts.clamp(min=1)


def _backwards(block: Products, own: Tensor, best: int | None) -> Tensor:
    """Return the mean of the candidates' descriptors' best matches in the query."""
    numbers = torch.arange(block.values.shape[2], device=own.device)
    masked = block.values.masked_fill((numbers >= own[:, None]).unsqueeze(1), -torch.inf)
    values = masked.amax(dim=2).masked_fill(~block.there, -torch.inf)
    counts = block.there.sum(dim=1)
    ordered = values.sort(dim=1, descending=True).values
    return _mean_of_first(ordered, counts if best is None else counts.clamp(max=best))


def _bounds(cells: Tensor, used: Tensor, counts: Tensor, left_out: Tensor) -> Tensor:
    """Return what bounds the used ones of cells ``(n, m, 4)`` without outliers, ``(n, 4)``."""
    used = used.unsqueeze(2)
    low = torch.where(used, cells[..., :2], torch.inf).sort(dim=1).values
    high = torch.where(used, cells[..., 2:], torch.inf).sort(dim=1).values
    first = left_out.view(-1, 1, 1).expand(-1, 1, 2)
    last = (counts - 1 - left_out).clamp(min=0).view(-1, 1, 1).expand(-1, 1, 2)
    return torch.cat([low.gather(1, first), high.gather(1, last)], dim=2).squeeze(1).clamp(0, 1)
