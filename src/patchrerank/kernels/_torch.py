"""``patch_max`` in torch: the same contract on any device that torch knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch

from patchrerank.errors import SettingError
from patchrerank.kernels.checks import Spans
from patchrerank.kernels.code_stores import PQStore, RabitqStore
from patchrerank.kernels.packed_codes import MOST_BITS
from patchrerank.kernels.stores import Int8Store, SingleStore
from patchrerank.types import Floats, Rows

Tensor: TypeAlias = torch.Tensor
Scorer: TypeAlias = Callable[[Tensor, Tensor], Tensor]

BLOCK_BYTES = 256 * 1024 * 1024
"""Decoded patch vectors that are on the device at one time, beside the store's rows."""


def patch_max_torch(
    queries: Floats, store: SingleStore, spans: Spans, device: str
) -> tuple[Floats, Rows]:
    """Score checked arguments on ``device``; see :func:`patchrerank.kernels.patch_max`.

    Inner products are float32; they differ from the compiled kernels' by rounding, so near
    ties may go to another patch.
    """
    where = _device(device)
    scores = np.full(spans.rows.shape, -np.inf, dtype=np.float32)
    patches = np.full(spans.rows.shape, -1, dtype=np.int64)
    slots = np.flatnonzero(spans.counts)
    if slots.size == 0:
        return scores, patches
    begins, gathered = _gather(spans, slots)
    counts = spans.counts.ravel()[slots]
    owners = slots // spans.rows.shape[1]
    scorer = _scorer(store, gathered, torch.from_numpy(queries).to(where))
    width = int(counts.max())
    block = max(1, BLOCK_BYTES // (4 * width * store.dim))
    for start in range(0, len(slots), block):
        part = slice(start, start + block)
        owner, begin, count = (
            torch.from_numpy(array[part]).to(where) for array in (owners, begins, counts)
        )
        best, winner = _best(scorer, owner, begin, count, width)
        scores.ravel()[slots[part]] = best.cpu().numpy()
        patches.ravel()[slots[part]] = winner.cpu().numpy()
    return scores, patches


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name.removeprefix("torch:"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingError(f"device {name!r} cannot be used: {error}") from error
    return device


def _gather(spans: Spans, slots: Rows) -> tuple[Rows, Rows]:
    """Return where each slot's rows begin among the gathered ones, and which rows to gather."""
    _, first, inverse = np.unique(spans.rows.ravel()[slots], return_index=True, return_inverse=True)
    begins, counts = spans.begins.ravel()[slots[first]], spans.counts.ravel()[slots[first]]
    stops = np.cumsum(counts)
    offsets = stops - counts
    gathered = np.arange(stops[-1]) + np.repeat(begins - offsets, counts)
    return offsets[inverse], gathered


def _scorer(store: SingleStore, rows: Rows, queries: Tensor) -> Scorer:
    """Upload the rows; return the inner products of (query numbers, row numbers ``(n, P)``)."""
    device = queries.device
    if isinstance(store, PQStore) and store.bits == MOST_BITS:
        parts = store.codes.shape[1]
        codes = torch.from_numpy(store.codes[rows]).to(device)
        centroids = torch.from_numpy(store.centroids).to(device)
        tables = torch.einsum("qjs,jcs->qjc", queries.view(len(queries), parts, -1), centroids)

        def look_up(owner: Tensor, row: Tensor) -> Tensor:
            picked = codes[row].long().transpose(1, 2)
            return torch.gather(tables[owner], 2, picked).sum(dim=1)

        return look_up
    if isinstance(store, Int8Store):
        data = torch.from_numpy(store.codes[rows]).to(device)
        scales = torch.from_numpy(store.scales[rows]).to(device)
        return lambda owner, row: _products(data, queries, owner, row) * scales[row]
    if isinstance(store, PQStore | RabitqStore):  # packed codes travel decoded
        data = torch.from_numpy(store.decode(rows)).to(device)
    else:
        data = torch.from_numpy(np.asarray(store.data[rows])).to(device)
    return lambda owner, row: _products(data, queries, owner, row)


def _products(data: Tensor, queries: Tensor, owner: Tensor, row: Tensor) -> Tensor:
    return torch.bmm(data[row].float(), queries[owner].unsqueeze(2)).squeeze(2)


def _best(
    scorer: Scorer, owners: Tensor, begins: Tensor, counts: Tensor, width: int
) -> tuple[Tensor, Tensor]:
    """Return the best score and the lowest patch number that has it."""
    numbers = torch.arange(width, device=begins.device)
    rows = begins[:, None] + torch.minimum(numbers, counts[:, None] - 1)
    scores = scorer(owners, rows).masked_fill(numbers >= counts[:, None], -torch.inf)
    best = scores.amax(dim=1)
    winners = torch.where(scores == best[:, None], numbers, width).amin(dim=1)
    return best, winners
