"""How kernels are compiled: numba, released interpreter lock, code cached on disk if possible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numba

from patchrerank.kernels._jit_cache import FOLDERS, KernelCache

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

KERNELS: list[Any] = []
"""All that this process has decorated."""

REASSOCIATE = frozenset({"reassoc", "contract", "arcp", "nsz"})
"""Sums may be reordered (so loops vectorise), but NaN and infinity keep their meaning."""


def compiled(function: Kernel) -> Kernel:
    """Compile with strict arithmetic: the same order of operations in every caller."""
    return _compile(function, False)


def compiled_short(function: Kernel) -> Kernel:
    """Compile strictly, and keep the interpreter lock: for what takes some ten microseconds.

    Who lets go of the lock must win it back, which takes far longer where other threads are busy.
    """
    return _compile(function, False, nogil=False)


def compiled_inside(function: Kernel) -> Kernel:
    """Compile strictly what other kernels call and Python never does: it has no way in from there.

    What makes one takes longer to compile than many a small kernel itself.
    """
    return _compile(function, False, no_cpython_wrapper=True)


def compiled_within(function: Kernel) -> Kernel:
    """Compile strictly, as a part of the kernel that calls it: what is called in one place.

    Arguments are passed one by one, not ``*arguments``. None of them may be an array whose address
    is taken: it would be freed once nothing but the address is used.
    """
    return _compile(function, False, no_cpython_wrapper=True, inline="always")


def compiled_loose(function: Kernel) -> Kernel:
    """Compile with sums that may be reordered (see ``REASSOCIATE``)."""
    return _compile(function, set(REASSOCIATE))


def _compile(function: Kernel, fastmath: Any, *, nogil: bool = True, **more: Any) -> Kernel:
    how = {"nogil": nogil, "fastmath": fastmath, "no_cfunc_wrapper": True, **more}
    kernel: Any = numba.njit(**how)(function)
    kernel._cache = KernelCache.of(function)
    KERNELS.append(kernel)
    found: Kernel = kernel
    return found


def entry_of(kernel: Callable[..., Any], arguments: Sequence[Any]) -> Callable[..., Any]:
    """Return a kernel's form for arguments of these types, which looks at no types when called.

    Whoever calls it passes the same types each time: arrays of the same dtype, number of axes and
    layout, aligned.
    """
    compiled_form: Any = kernel
    found: Callable[..., Any] = compiled_form.compile(tuple(map(numba.typeof, arguments)))
    return found


def kept_in() -> tuple[str, ...]:
    """Return the folders that this process has read kernels from, or written them to."""
    return tuple(sorted(FOLDERS))


def target_processor() -> str:
    """Return what kernels are compiled for, in LLVM's words: ``znver4``, ``icelake-server``."""
    from numba.core.registry import cpu_target

    name: str = cpu_target.target_context.codegen().magic_tuple()[1]
    return name
