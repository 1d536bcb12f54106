"""Correlation maps: how much each cell of a candidate looks like the query, and where most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from patchrerank.kernels.peaks import peak_regions
from patchrerank.kernels.rows import row_products
from patchrerank.rerankers._local import Block, blocks_of, cells_of
from patchrerank.types import Floats, Rows

if TYPE_CHECKING:
    from patchrerank.cells import Cells
    from patchrerank.gallery import LocalStore

CUT = 0.5
"""The region around the peak is cut at half its height above the map's median."""

MAP_FLOATS = 16
"""How many floats a cell of a map takes while the map is made, at most."""


def located(
    query: Floats,
    local: LocalStore,
    images: Rows,
    windows: Floats | None = None,
    *,
    cut: float = CUT,
    smooth: bool = True,
) -> Floats:
    """Return where each candidate correlates most with a query.

    Args:
        query: float32 ``(D,)``, such as :func:`mean_descriptor` of the query's descriptors.
        local: the candidates' descriptors.
        images: int64 ``(K,)`` gallery rows, ``-1`` for an empty slot.
        windows: float32 ``(K, 4)`` boxes in which the peak is looked for; None, or a NaN row:
            anywhere.
        cut: in (0, 1], how high above the map's median the region is cut, as a share of the
            peak's height above it.
        smooth: see :func:`correlation_maps`.

    Returns:
        float32 ``(K, 4)``, the connected region around the peak of :func:`correlation_maps`;
        NaN for empty slots, candidates without descriptors, and where nothing stands out.
    """
    boxes = np.full((len(images), 4), np.nan, dtype=np.float32)
    finest = finest_cells(local)
    cells = finest.rows.count * finest.columns.count
    for block in blocks_of(local, images, MAP_FLOATS * cells):
        here = None if windows is None else finest.boxes_across_map(windows[block.slots])
        maps = correlation_maps(query, local, block, smooth=smooth)
        regions = peak_regions(maps, here, cut=cut)
        regions = finest.boxes_across_picture(regions)
        boxes[block.slots] = np.where(block.counts[:, None] > 0, regions, np.nan)
    return boxes


def mean_descriptor(vectors: Floats) -> Floats:
    """Return the mean of descriptors ``(n, D)``, n ≥ 1; not normalised.

    Its inner product with a cell is the mean of the cell's correlations with all of them.
    """
    return np.asarray(vectors.astype(np.float64).mean(axis=0), dtype=np.float32)


def correlation_maps(
    query: Floats, local: LocalStore, block: Block, *, smooth: bool = True
) -> Floats:
    """Return correlation maps, float32 ``(b, h, w)``, of the candidates of a block.

    A cell's value is its descriptor's inner product with ``query`` ``(D,)``. The scales are
    joined by their maximum on the finest grid; a cell that no scale has a descriptor for gets
    the lowest value of its candidate (0 without any). With ``smooth`` each map is then smoothed
    by 1-2-1 along both axes, edges repeated.
    """
    rows = block.rows
    slots = np.repeat(np.arange(len(block.counts)), block.counts)
    maps = _joined(row_products(query, local.store, rows), slots, local, rows, len(block.counts))
    lowest = np.where(np.isfinite(maps), maps, np.inf).min(axis=(1, 2), keepdims=True)
    lowest[block.counts == 0] = 0.0
    filled = np.where(np.isfinite(maps), maps, lowest)
    return _smoothed(filled) if smooth else filled


def finest_cells(local: LocalStore) -> Cells:
    """Return the cells of the finest scale, on which correlation maps are drawn."""
    return max(cells_of(local), key=lambda one: one.rows.count * one.columns.count)


def _joined(values: Floats, slots: Rows, local: LocalStore, rows: Rows, count: int) -> Floats:
    """Return the maximum over scales on the finest grid, −inf where nothing is."""
    finest, every = finest_cells(local), cells_of(local)
    scales = np.clip(local.scales[rows], 0, len(every) - 1)
    positions = np.nan_to_num(local.positions[rows])  # of damaged files
    joined = np.full((count, *finest.grid), -np.inf, dtype=np.float32)
    for number, own in enumerate(every):
        here = np.flatnonzero(scales == number)
        cells = np.full((count, *own.grid), -np.inf, dtype=np.float32)
        x = own.columns.numbers(positions[here, 0])
        y = own.rows.numbers(positions[here, 1])
        np.maximum.at(cells, (slots[here], y, x), values[here])
        down = own.rows.numbers(finest.rows.centres())
        across = own.columns.numbers(finest.columns.centres())
        np.maximum(joined, cells[:, down][:, :, across], out=joined)
    return joined


def _smoothed(maps: Floats) -> Floats:
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    return np.ascontiguousarray((rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4)
