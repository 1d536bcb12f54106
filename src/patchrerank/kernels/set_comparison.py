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

    if kernels.HAS_INT8:
        codes, scales = quantise_int8(query)
        groups = (codes.astype(np.int16) + kernels.BIAS).astype(np.uint8).view(np.int32)
        packed, width = _pack(groups, kernels.WIDTH, kernels.VECTORS)
        kernel = partial(kernels.compare_int8_slots, packed, store.dim)
    else:
        codes, scales = _limited(query)
        packed, width = _pack(codes.view(np.int32), kernels.WIDTH, 1)
        biases = np.zeros(width, dtype=np.int32)
        biases[: len(query)] = kernels.BIAS * codes.sum(axis=1, dtype=np.int32)
        kernel = partial(kernels.compare_byte_slots, packed, biases, store.dim)
    best, _ = _compare(kernel, width, store, begins, counts, threads)
    found = best[:, : len(query)]
    # who has nothing keeps -inf, whose product with the scale 0 of a descriptor of zeros is NaN
    np.multiply(found, scales, out=found, where=np.isfinite(found))
    return found


def _limited(query: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Return codes ``(n, d)``, d made whole blocks by zeros, and scales ``(n,)`` of descriptors.

    As fine as sums in 16 bits allow, of the codes that meet in a lane: see ``_set_byte_tiles``.
    Scales are those that come nearest to the descriptors. All of it in float64: of descriptors
    near the ends of float32, sums and quotients lie beyond them.
    """
    from patchrerank.kernels import _sets as kernels

    count, dim = query.shape
    padded = np.zeros((count, -(-dim // kernels.BLOCK) * kernels.BLOCK), dtype=np.float64)
    padded[:, :dim] = query
    lanes = np.abs(padded).reshape(count, -1, kernels.GROUPS, 2, 2).sum(axis=(2, 4))
    room = kernels.MOST - kernels.GROUPS  # each of the codes is rounded by at most a half
    widest = lanes.max(axis=(1, 2))[:, None]
    steps = np.rint(padded * (room / np.where(widest > 0, widest, 1.0)))
    squares = (steps * steps).sum(axis=1)
    scales = (padded * steps).sum(axis=1) / np.where(squares > 0, squares, 1.0)
    return steps.astype(np.int8), scales.astype(np.float32)


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
    return fits and (kernels.HAS_BYTES or (kernels.HAS_INT8 and dim % 4 == 0))


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
