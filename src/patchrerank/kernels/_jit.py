"""How kernels are compiled: numba, released interpreter lock, code cached on disk if possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

REASSOCIATE = frozenset({"reassoc", "contract", "arcp", "nsz"})
"""Sums may be reordered (so loops vectorise), but NaN and infinity keep their meaning."""


def compiled(function: Kernel) -> Kernel:
    """Compile with strict arithmetic: the same order of operations in every caller."""
    return _compile(function, False)


def compiled_loose(function: Kernel) -> Kernel:
    """Compile with sums that may be reordered (see ``REASSOCIATE``)."""
    return _compile(function, set(REASSOCIATE))


def _compile(function: Kernel, fastmath: Any) -> Kernel:
    try:
        kernel: Kernel = numba.njit(nogil=True, cache=True, fastmath=fastmath)(function)
    except RuntimeError:  # no folder for the cache can be written (read-only installation)
        kernel = numba.njit(nogil=True, fastmath=fastmath)(function)
    return kernel
