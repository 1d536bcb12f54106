"""``row_products``: one vector against many rows of a store."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from patchrerank.errors import ShortlistError
from patchrerank.kernels.checks import check_queries
from patchrerank.kernels.stores import (
    Float16Store,
    Float32Store,
    Int8Store,
    RescoredStore,
    layout,
    row_places,
)
from patchrerank.types import Floats, Rows

BLOCK_BYTES = 32 * 2**20
"""The most that rows of other stores take once decoded, unless one image alone takes more."""


class Decodable(Protocol):
    """Any store of rows, also one that the kernels do not read in place."""

    def __len__(self) -> int: ...

    @property
    def dim(self) -> int:
        """The number of dimensions d."""
        ...

    def decode(self, rows: Rows) -> Floats:
        """Return rows ``(n,)`` as float32 ``(n, d)``."""
        ...


def row_products(query: Floats, store: Decodable, rows: Rows) -> Floats:
    """Return the inner product of one vector with each of some rows.

    float32, float16 and int8 rows are read in place, others are decoded block by block. Each
    product has the same bits whatever other rows are asked for.

    Args:
        query: float32 ``(d,)``, finite.
        store: ``T`` rows of d dimensions, free of NaN.
        rows: int64 ``(n,)``, within ``0 … T - 1``.

    Returns:
        float32 ``(n,)``.

    Raises:
        QueryError: a query of the wrong shape, or not finite.
        ShortlistError: rows outside the store.
    """
    vector = check_queries(np.asarray(query)[None], store.dim)[0]
    wanted = np.ascontiguousarray(rows, dtype=np.int64)
    if wanted.size and not 0 <= int(wanted.min()) <= int(wanted.max()) < len(store):
        raise ShortlistError(f"rows must lie within 0 … {len(store) - 1} of the store")
    products = np.empty(len(wanted), dtype=np.float32)
    store = store.exact if isinstance(store, RescoredStore) else store
    if isinstance(store, Float32Store | Float16Store | Int8Store):
        _in_place(vector, store, wanted, products)
        return products
    step = max(1, BLOCK_BYTES // (4 * store.dim))
    for start in range(0, len(wanted), step):
        part = slice(start, start + step)
        decoded = Float32Store(store.decode(wanted[part]))
        _in_place(vector, decoded, np.arange(len(decoded)), products[part])
    return products


def _in_place(
    vector: Floats, store: Float32Store | Float16Store | Int8Store, rows: Rows, products: Floats
) -> None:
    """Walk the rows as images of one patch each."""
    from patchrerank.kernels.row_walkers import slots_walker

    unused = np.empty(len(rows), dtype=np.int64)
    starts, scales, places = row_places(store, rows)
    tag, stride, _ = layout(store)
    how = (stride, vector, starts, scales, places)
    slots_walker(tag.dtype)(*how, np.ones_like(rows), products, unused)
