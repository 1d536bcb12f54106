"""Dense correlation of one pair, as a map over the candidate's picture."""

from __future__ import annotations

import numpy as np

from patchrerank.gallery import LocalStore
from patchrerank.rerankers._correlation import correlation_maps, finest_cells, mean_descriptor
from patchrerank.rerankers._local import blocks_of
from patchrerank.types import Floats


def correlation_map(query: Floats, local: LocalStore, row: int) -> Floats | None:
    """Return how much each place of an image's picture looks like a query.

    The map whose peak is the box of :class:`~patchrerank.rerankers.DenseCorrelation`.

    Args:
        query: float32 ``(n, D)``, the query's descriptors, n ≥ 1.
        local: the gallery's descriptors.
        row: of the gallery.

    Returns:
        float32 ``(h, w)``, cosines of cells that share the picture out evenly; None if the image
        has no descriptors.

    Raises:
        ShortlistError: no such row.
    """
    images = np.array([row], dtype=np.int64)
    (block,) = blocks_of(local, images, 0)
    if not block.counts[0]:
        return None
    found = correlation_maps(mean_descriptor(query), local, block)[0]
    rows, columns = finest_cells(local).rows, finest_cells(local).columns
    down = rows.numbers((np.arange(rows.count) + 0.5) / rows.count)
    across = columns.numbers((np.arange(columns.count) + 0.5) / columns.count)
    return np.ascontiguousarray(found[down][:, across])
