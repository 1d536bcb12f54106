"""Compiled answers of stores of codes: from queries and rows to scores, in one call."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core import types as numba_types

from patchrerank.kernels._calls import address_of, caller_of
from patchrerank.kernels._code_scans import AHEAD, State, Where, begin, walk
from patchrerank.kernels._code_tables import (
    fold_table,
    join_table,
    pack_table,
    products_of,
    rotated_table,
    whole_table,
)
from patchrerank.kernels._code_tiles import (
    BLOCK,
    BYTE_TABLES,
    LINES,
    LOOKS_BYTES_UP,
    NIBBLE_TABLES,
    ROWS,
    STREAMS,
    WIDTH,
)
from patchrerank.kernels._found_rows import Ends, Parts, find_rows, finite
from patchrerank.kernels.jit import compiled, compiled_inside
from patchrerank.types import Floats, Rows

types: Any = numba_types
Source = npt.NDArray[np.float32]
"""What look-up tables are made of: centroids ``(m, d / m, 2 ** n)``, or signs ``(1, 4, d)``."""
Form = tuple[bool, int, int]
"""Whether codes are rotated ones (which have scales), bits of a code, bytes of a row."""


@compiled_inside
def _scan(
    table: Floats,
    bits: int,
    form: tuple[int, int, bool, bool],
    state: State,
    where: Where,
    scores: Floats,
    patches: Rows,
) -> None:
    """Answer the slots by a table ``(n, C)``."""
    size, width, of_bytes, _ = form
    entries = np.empty(table.shape, dtype=np.uint16)
    scaling = whole_table(table, entries)
    in_registers = WIDTH > 0 and (LOOKS_BYTES_UP or not of_bytes)
    each = BYTE_TABLES if of_bytes else NIBBLE_TABLES
    blocks = (width + BLOCK - 1) // BLOCK
    packed = np.empty(blocks * BLOCK * each if in_registers else 0, dtype=np.uint8)
    joined = np.empty((0 if in_registers else width, 256), dtype=np.uint16)
    if in_registers:
        pack_table(entries, width, packed)
    else:
        join_table(entries, width, joined)
    staged = ROWS if width < BLOCK or width != size else 0
    stage = np.zeros((staged, max(BLOCK, width)), dtype=np.uint8)
    walk(form, stage, bits, (packed, joined), scaling, state, where, scores, patches)


@compiled
def scan(
    query: Floats, source: Source, form: Form, where: Where, scores: Floats, patches: Rows
) -> None:
    """Answer the slots ``(K,)`` of one query ``(d,)``."""
    rotated, bits, size = form
    of_bytes = not rotated and bits not in (1, 2, 4)
    width = source.shape[0] if of_bytes else size
    blocks, cursor = (width + BLOCK - 1) // BLOCK, np.zeros(2, np.int64)
    rings, filled = np.zeros((AHEAD + 1, ROWS), np.int64), np.zeros(AHEAD + 1, np.int64)
    state = (rings, filled, cursor, np.empty((blocks * (LINES // STREAMS), 2), np.int64))
    begin(state, size, rotated, where)
    table = np.empty((2 * size, 16), dtype=np.float32)
    if rotated:
        rotated_table(query, source[0], bits, table)
    else:
        products = np.empty((source.shape[0], source.shape[2]), dtype=np.float32)
        products_of(query, source, products)
        if of_bytes:
            _scan(products, bits, (size, width, True, rotated), state, where, scores, patches)
            return
        fold_table(products, bits, table)
    _scan(table, bits, (size, size, False, rotated), state, where, scores, patches)


_LINE, _VALUES = types.Array(types.int64, 1, "C"), types.Array(types.float32, 1, "C")
_FORM = types.Tuple((types.boolean, types.int64, types.int64))
_WHERE = types.Tuple((_LINE, _LINE, types.UniTuple(types.int64, 4), _LINE))
_SCAN = (_VALUES, types.Array(types.float32, 3, "C"), _FORM, _WHERE, _VALUES, _LINE)
call_scan: Any = caller_of(*_SCAN)


@cache
def scan_at() -> int:
    """Return the address of ``scan``, which ``answer`` calls."""
    return address_of(scan, *_SCAN)


@compiled
def answer(
    scanner: int,
    source: Source,
    form: Form,
    total: int,
    code_places: Parts,
    scale_places: Parts,
    ends: Rows,
    end_places: Ends,
    queries: Floats,
    rows: Rows,
    spans: tuple[Rows, Rows],
    scores: Floats,
    patches: Rows,
) -> bool:
    """Answer shortlists ``(Q, K)``, or return False: something is not as it must be, or not open.

    ``scanner`` is what :func:`scan_at` returns.
    ``ends`` are those of one array, or empty: ``end_places`` tell where they lie. Begins and counts
    are written to ``spans``.
    """
    flat, begins, counts = rows.reshape(-1), spans[0].reshape(-1), spans[1].reshape(-1)
    if not finite(queries):
        return False
    held = (total, ends, end_places, form[2], code_places, form[0], scale_places)
    found, starts, scales = find_rows(flat, *held, begins, counts)
    if not found:
        return False
    width = rows.shape[1]
    for query in range(len(queries)):
        own = slice(query * width, query * width + width)
        where = (starts[own], scales[own], (0, 1, 0, 1), counts[own])
        call_scan(scanner, (queries[query], source, form, where, scores[query], patches[query]))
    return True
