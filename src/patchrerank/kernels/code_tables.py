"""How codes are scored: look-up tables of a query, in registers where the processor can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from patchrerank.kernels.code_stores import PQStore, RabitqStore
from patchrerank.types import Floats

Scan: TypeAlias = Callable[[int, tuple[Any, ...], tuple[Any, ...]], None]


def scanner(store: PQStore | RabitqStore, queries: Floats) -> Scan:
    """Return what answers slots of a query: its number, where they lie, and where to write.

    Args:
        store: of codes.
        queries: float32 ``(Q, d)``.
    """
    from patchrerank.kernels._code_answers import scan

    (source, form), *_ = store.held
    return lambda query, where, out: scan(queries[query], source, form, where, *out)
