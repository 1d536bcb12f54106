"""Shortlists scored on a device, from rows that are kept there: nobody waits before the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from patchrerank.kernels._cuts import pieces
from patchrerank.kernels._torch import BLOCK_BYTES, Table, Tensor, best_patches, first_best
from patchrerank.kernels.held_rows import HeldRows, Part
from patchrerank.types import EMPTY, Floats, Rows


@dataclass(frozen=True, eq=False)
class Best:
    """The best patch of each candidate, on the device.

    Attributes:
        scores: float32 ``(Q, K)``, −inf where there is none.
        patches: int64 ``(Q, K)``, its number within the image, of equals the lowest; -1.
        boxes: float32 ``(Q, K, 4)``, NaN where there is none; None: the rows have no boxes.
    """

    scores: Tensor
    patches: Tensor
    boxes: Tensor | None


@dataclass(frozen=True, eq=False)
class Products:
    """Inner products of some candidates' descriptors with those of their queries.

    Attributes:
        slots: int64 ``(n,)``, places in the flattened shortlists.
        owners: int64 ``(n,)``, their queries.
        table: where their rows lie.
        rows: int64 ``(n, w)``, of the table.
        there: bool ``(n, w)``, whether there is such a descriptor.
        values: float32 ``(n, w, m)``; of queries with less than m descriptors the rest is 0.
    """

    slots: Tensor
    owners: Tensor
    table: Table
    rows: Tensor
    there: Tensor
    values: Tensor

    def best(self) -> tuple[Tensor, Tensor]:
        """Return each query descriptor's best match: value and row of the table, ``(n, m)``."""
        values = self.values.masked_fill(~self.there.unsqueeze(2), -torch.inf)
        numbers = torch.arange(self.rows.shape[1], device=self.rows.device)
        best, first = first_best(values, numbers)
        return best, self.rows.gather(1, first)


@torch.inference_mode()
def best_on_device(held: HeldRows, vectors: Floats, rows: Rows) -> Best:
    """Return the best patch of each candidate, as ``patch_max`` finds it, but for rounding.

    Args:
        held: the gallery's patches.
        vectors: float32 ``(Q, d)``, finite.
        rows: int64 ``(Q, K)`` image rows, ``-1`` for an empty slot.

    Raises:
        ShortlistError: rows outside the gallery.
    """
    queries, shape = held.queries(vectors), tuple(rows.shape)
    scores = torch.full((rows.size,), -torch.inf, device=held.device)
    patches = torch.full((rows.size,), EMPTY, dtype=torch.int64, device=held.device)
    boxes = torch.full((rows.size, 4), torch.nan, device=held.device) if held.has_boxes else None
    for part in held.parts(rows):
        slots = _slots(part, rows.size)
        owners = slots.div(shape[1], rounding_mode="floor")
        found = best_patches(part.table, queries, owners, part.begins, part.counts, part.width)
        scores[slots], patches[slots] = found
        if boxes is not None and part.table.boxes is not None:
            own = part.table.boxes[part.begins + found[1].clamp(min=0)]
            boxes[slots] = own.masked_fill((found[1] < 0).unsqueeze(1), torch.nan)
    return Best(
        scores.view(shape),
        patches.view(shape),
        None if boxes is None else boxes.view(*shape, 4),
    )


def products_on_device(held: HeldRows, sets: Sequence[Floats], rows: Rows) -> Iterator[Products]:
    """Yield the products of query sets ``(n_q, d)`` with the rows of candidates, in blocks.

    One block where memory allows: a multiplication for a whole batch of queries.

    Raises:
        ShortlistError: rows outside the gallery.
    """
    width, most = rows.shape[1], max(map(len, sets), default=0)
    padded = np.zeros((len(sets), most, held.dim), dtype=np.float32)
    for line, own in zip(padded, sets, strict=True):
        line[: len(own)] = own
    queries = held.sent(padded)
    for part in held.parts(rows) if most else ():
        slots = _slots(part, rows.size)
        cost = 4 * (part.width * (2 * held.dim + 2 * most) + most * held.dim)
        whole = width if part.slots is None else 1
        for start, stop in pieces(len(slots), whole, max(1, BLOCK_BYTES // cost)):
            yield _products(part, slots, slice(start, stop), queries, width)


def _products(part: Part, slots: Tensor, here: slice, queries: Tensor, width: int) -> Products:
    own, counts = slots[here], part.counts[here]
    owners = own.div(width, rounding_mode="floor")
    numbers = torch.arange(part.width, device=own.device)
    there = numbers < counts[:, None]
    rows = part.begins[here, None] + torch.where(there, numbers, 0)
    found = part.table.decoded(rows)
    if part.slots is None:  # all candidates of some queries, or some of one
        of = queries[here.start // width : (here.stop - 1) // width + 1]
        values = (found.view(len(of), -1, found.shape[2]) @ of.mT).view(*rows.shape, -1)
    else:
        values = found @ queries[owners].mT
    return Products(own, owners, part.table, rows, there, values)


def _slots(part: Part, count: int) -> Tensor:
    return torch.arange(count, device=part.begins.device) if part.slots is None else part.slots
