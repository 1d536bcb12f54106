"""Descriptor sets compared by the kernels: queries packed, candidates read in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.kernels.stores import (
    Float16Store,
    Float32Store,
    Int8Store,
    layout,
    quantise_int8,
    row_places,
)
from patchrerank.kernels.threads import parts_of, run_parts
from patchrerank.types import Floats, Rows

SetStore = Float32Store | Float16Store | Int8Store
INT8_DIMS = 32_768
"""Up to here the sums of int8 products fit 32 bits."""


def compare_floats(
    query: Floats, store: SetStore, begins: Rows, counts: Rows, threads: int
) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Return best value and its row number ``(K, n)`` of each query descriptor."""
    from patchrerank.kernels import _sets as kernels

    packed, width = _pack(query, kernels.WIDTH, kernels.VECTORS)
    kernel = partial(kernels.compare_slots, *layout(store), packed, store.dim)
    best, where = _compare(kernel, width, store, begins, counts, threads)
    return best[:, : len(query)], where[:, : len(query)]


def compare_int8(
    query: Floats, store: Int8Store, begins: Rows, counts: Rows, threads: int
) -> Floats:
    """Return the best value ``(K, n)`` of each query descriptor, from int8 products."""
    from patchrerank.kernels import _sets as kernels

    codes, scales = quantise_int8(query)
    if kernels.HAS_INT8:
        groups = (codes.astype(np.int16) + kernels.BIAS).astype(np.uint8).view(np.int32)
    else:
        groups = codes.astype(np.int16).view(np.int32)
    compare = kernels.compare_int8_slots if kernels.HAS_INT8 else kernels.compare_pair_slots
    packed, width = _pack(groups, kernels.WIDTH, kernels.VECTORS)
    kernel = partial(compare, packed, store.dim)
    best, _ = _compare(kernel, width, store, begins, counts, threads)
    return np.asarray(best[:, : len(query)] * scales)


def _compare(
    kernel: Callable[..., None],
    width: int,
    store: SetStore,
    begins: Rows,
    counts: Rows,
    threads: int,
) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Return what a kernel finds for each candidate: values and row numbers ``(K, width)``."""
    starts, scales, places = row_places(store, begins)
    best = np.empty((len(counts), width), dtype=np.float32)
    where = np.empty((len(counts), width), dtype=np.int32)

    def compare(start: int, stop: int) -> None:
        part = slice(start, stop)
        kernel(starts[part], scales[part], places, counts[part], best[part], where[part])

    run_parts(threads, compare, parts_of(len(counts), threads))
    return best, where


def has_int8(dim: int) -> bool:
    """Tell whether int8 products are faster than those of floats: there are kernels for them."""
    from patchrerank.kernels import _sets as kernels

    fits = dim <= INT8_DIMS
    return fits and ((kernels.HAS_INT8 and dim % 4 == 0) or (kernels.HAS_PAIRS and dim % 2 == 0))


def _pack(query: npt.NDArray[Any], lanes: int, vectors: int) -> tuple[npt.NDArray[Any], int]:
    """Return the query set in the kernels' order, and its count rounded up to whole vectors.

    Blocks of ``lanes * vectors`` descriptors (the last one may have fewer vectors); within a
    block one line of descriptors a dimension.
    """
    count, dim = query.shape
    width = -(-count // lanes) * lanes
    padded = np.zeros((width, dim), dtype=query.dtype)
    padded[:count] = query
    block = lanes * vectors
    lines = [padded[start : start + block].T.ravel() for start in range(0, width, block)]
    return np.concatenate(lines), width
