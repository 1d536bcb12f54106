"""How codes are scored: look-up tables of a query, in registers where codes have few bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from patchrerank.kernels.code_stores import PQStore, RabitqStore
from patchrerank.kernels.rabitq import PLANES, rotate
from patchrerank.types import Floats

Scan: TypeAlias = Callable[[int, tuple[Any, ...], tuple[Any, ...]], None]
REGISTERS = (1, 2, 4)
"""Bits of codes of which a table of 16 entries takes whole ones."""


def scanner(store: PQStore | RabitqStore, queries: Floats) -> Scan:
    """Return what answers slots of a query: its number, where they lie, and where to write.

    Args:
        store: of codes.
        queries: float32 ``(Q, d)``.
    """
    if isinstance(store, RabitqStore):
        turned = rotate(queries)
        return lambda query, where, out: _scan(
            store, rabitq_table(turned[query], store.bits), where, out, scaled=True
        )
    if store.bits in REGISTERS:
        return lambda query, where, out: _scan(
            store, pq_table(queries[query], store), where, out, scaled=False
        )
    return lambda query, where, out: _sum(store, queries[query], where, out)


def pq_table(query: Floats, store: PQStore) -> Floats:
    """Return the inner products of a query with what each nibble of a row means, ``(n, 16)``."""
    from patchrerank.kernels._nibbles import fold_table

    table = np.empty((2 * store.bytes_per_row, 16), dtype=np.float32)
    fold_table(_products(query, store), store.bits, table)
    return table


def rabitq_table(turned: Floats, bits: int) -> Floats:
    """Return the same of rotated codes, for a rotated query ``(d,)``."""
    from patchrerank.kernels._nibbles import fold_table

    plane, tables, left = -(-len(turned) // 8), [], bits
    for width in PLANES[bits]:
        left -= width
        levels = (np.arange(1 << width) - ((1 << width) - 1) / 2) * (1 << left)
        table = np.empty((2 * plane * width, 16), dtype=np.float32)
        fold_table(turned[:, None] * levels.astype(np.float32), width, table)
        tables.append(table)
    return tables[0] if len(tables) == 1 else np.concatenate(tables)


def _products(query: Floats, store: PQStore) -> Floats:
    from patchrerank.kernels._codes import table_of

    table = np.empty(store.centroids.shape[:2], dtype=np.float32)
    table_of(query, store.by_dimension, table)
    return table


def _sum(store: PQStore, query: Floats, where: tuple[Any, ...], out: tuple[Any, ...]) -> None:
    from patchrerank.kernels._codes import sum_slots

    starts, _, places, counts = where
    sum_slots(_products(query, store), store.bytes_per_row, places, starts, counts, *out)


def _scan(
    store: PQStore | RabitqStore,
    table: Floats,
    where: tuple[Any, ...],
    out: tuple[Any, ...],
    *,
    scaled: bool,
) -> None:
    from patchrerank.kernels import _nibbles as kernels

    size = store.codes.shape[1]
    entries = np.empty(table.shape, dtype=np.int32)
    step, bias = kernels.whole_table(table, entries)
    width = kernels.width_of(size)
    chunks = -(-size // width) if width else 0
    packed = np.empty(chunks * width * kernels.ROWS * kernels.KINDS, dtype=np.uint8)
    if width:
        kernels.pack_table(entries, width, packed)
    parts = (0,) * (width // kernels.ROWS)
    kernels.scan_slots(parts, entries, packed, size, (step, bias, scaled), *where, *out)
