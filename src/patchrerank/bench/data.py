"""Random stores for measuring: large enough to lie outside the caches, quick to make."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.bench.sizes import Sizes
from patchrerank.errors import SettingError
from patchrerank.kernels import (
    Float16Store,
    Float32Store,
    Int8Store,
    PQStore,
    RabitqStore,
    SingleStore,
    quantise_int8,
)
from patchrerank.types import Floats


def unit(vectors: Floats) -> Floats:
    """Return the rows at length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def filled(size: int, each: int, dim: int, generator: np.random.Generator) -> Floats:
    """Return about ``size`` bytes of unit rows; the numbers repeat after some MiB."""
    rows = max(1, size // (4 * dim * each)) * each
    block = unit(generator.standard_normal((min(rows, 4099), dim), dtype=np.float32))
    table = np.empty((rows, dim), dtype=np.float32)
    for start in range(0, rows, len(block)):
        table[start : start + len(block)] = block[: rows - start]
    return table


def quantise(vectors: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Return int8 codes and scales of the rows that :func:`filled` made."""
    block = min(len(vectors), 4099)
    codes, scales = quantise_int8(vectors[:block])
    turns = np.arange(len(vectors)) % block
    return codes[turns], scales[turns]


def make_store(kind: str, sizes: Sizes, generator: np.random.Generator) -> SingleStore:
    """Return a store of about ``sizes.store_mib`` MiB, whole images only."""
    size = sizes.store_mib << 20
    width = {"float32": 4 * sizes.dim, "float16": 2 * sizes.dim, "int8": sizes.dim}
    if kind.startswith(("pq", "rabitq")):
        return _codes(kind, sizes, size, generator)
    rows = max(1, size // (width[kind] * sizes.patches)) * sizes.patches
    block = filled(4 * sizes.dim * min(rows, 4080), sizes.patches, sizes.dim, generator)
    turns = np.arange(rows) % len(block)
    if kind == "int8":
        codes, scales = quantise_int8(block)
        return Int8Store(codes[turns], scales[turns])
    if kind == "float16":
        return Float16Store(block.astype(np.float16)[turns])
    return Float32Store(block[turns])


def _codes(kind: str, sizes: Sizes, size: int, generator: np.random.Generator) -> SingleStore:
    """Return random codes; those of 4 bits take as many bytes as those of 8."""
    bits = int(kind.removeprefix("rabitq")) if kind.startswith("rabitq") else 0
    width = -(-sizes.dim // 8) * bits or sizes.parts
    rows = max(1, size // (width * sizes.patches)) * sizes.patches
    codes = generator.integers(0, 256, (rows, width), dtype=np.uint8)
    if bits:
        return RabitqStore(codes, np.full(rows, 1.25 / sizes.dim**0.5, np.float32), sizes.dim)
    parts, count = (2 * sizes.parts, 16) if kind == "pq4" else (sizes.parts, 256)
    if sizes.dim % parts:
        raise SettingError(f"dim {sizes.dim} does not divide into {parts} parts of 4 bits")
    shape = (parts, count, sizes.dim // parts)
    return PQStore(codes, generator.standard_normal(shape, dtype=np.float32) / sizes.dim**0.5)


def memory_of(store: SingleStore) -> npt.NDArray[Any]:
    """Return the array that holds the rows."""
    return store.data if isinstance(store, (Float32Store, Float16Store)) else store.codes
