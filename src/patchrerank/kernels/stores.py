"""Stores: the flat rows of patch (or local descriptor) vectors, in four precisions.

A store only points at arrays; memory-mapped ones stay on disk and are read in place, those of
several folders too (:class:`~patchrerank.kernels.segments.Segments` in place of an array).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.kernels.segments import Segments, addresses_of, plain
from patchrerank.types import Floats, Rows

Codes = npt.NDArray[np.int8]

PQ_CENTROIDS = 256
"""Centroids per part of a product quantiser: 8 bits, the only width the kernels read."""


@dataclass(frozen=True, eq=False)
class Float32Store:
    """Rows as they are: ``data`` float32 ``(T, d)``, C-contiguous."""

    data: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", _table(self.data, np.float32, "Float32Store.data"))

    def __len__(self) -> int:
        return len(self.data)

    @property
    def dim(self) -> int:
        """The number of dimensions d."""
        return int(self.data.shape[1])

    @property
    def bytes_per_row(self) -> int:
        """Bytes read for one row."""
        return 4 * self.dim

    def decode(self, rows: Rows) -> Floats:
        """Return rows ``(n,)`` as float32 ``(n, d)``."""
        return np.asarray(self.data[rows])


@dataclass(frozen=True, eq=False)
class Float16Store:
    """Half the bytes, about three digits: ``data`` float16 ``(T, d)``, C-contiguous."""

    data: npt.NDArray[np.float16]

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", _table(self.data, np.float16, "Float16Store.data"))

    def __len__(self) -> int:
        return len(self.data)

    @property
    def dim(self) -> int:
        """The number of dimensions d."""
        return int(self.data.shape[1])

    @property
    def bytes_per_row(self) -> int:
        """Bytes read for one row."""
        return 2 * self.dim

    def decode(self, rows: Rows) -> Floats:
        """Return rows ``(n,)`` as float32 ``(n, d)``."""
        return self.data[rows].astype(np.float32)


@dataclass(frozen=True, eq=False)
class Int8Store:
    """A quarter of the bytes: row t is ``scales[t] * codes[t]``; the query stays float.

    Attributes:
        codes: int8 ``(T, d)``, C-contiguous.
        scales: float32 ``(T,)``, finite and at least 0.
    """

    codes: Codes
    scales: Floats

    def __post_init__(self) -> None:
        codes = _table(self.codes, np.int8, "Int8Store.codes")
        scales = plain(self.scales)
        if scales.dtype != np.float32 or scales.shape != (len(codes),):
            raise SettingError(
                f"Int8Store.scales needs float32 ({len(codes)},), one scale a row, got "
                f"{scales.dtype} {scales.shape}"
            )
        object.__setattr__(self, "codes", codes)
        if not isinstance(scales, Segments):
            scales = np.require(scales, requirements=["C", "A"])
        object.__setattr__(self, "scales", scales)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def dim(self) -> int:
        """The number of dimensions d."""
        return int(self.codes.shape[1])

    @property
    def bytes_per_row(self) -> int:
        """Bytes read for one row, its scale included."""
        return self.dim + 4

    def decode(self, rows: Rows) -> Floats:
        """Return rows ``(n,)`` as float32 ``(n, d)``."""
        return self.codes[rows].astype(np.float32) * self.scales[rows][:, None]


@dataclass(frozen=True, eq=False)
class PQStore:
    """Product quantisation, 8 bits a part: row t is ``centroids[j, codes[t, j]]``, j = 0…m-1.

    Source: Jégou et al., Product Quantization for Nearest Neighbor Search (TPAMI 2011);
    ``centroids`` has the layout of a faiss ``ProductQuantizer``.

    Attributes:
        codes: uint8 ``(T, m)``, C-contiguous.
        centroids: float32 ``(m, 256, d / m)``.
    """

    codes: npt.NDArray[np.uint8]
    centroids: Floats

    def __post_init__(self) -> None:
        codes = _table(self.codes, np.uint8, "PQStore.codes")
        centroids = np.ascontiguousarray(self.centroids)
        parts = int(codes.shape[1])
        if centroids.dtype != np.float32 or centroids.ndim != 3 or centroids.shape[2] == 0:
            raise SettingError(
                "PQStore.centroids needs float32 (m, 256, d / m), got "
                f"{centroids.dtype} {centroids.shape}"
            )
        if centroids.shape[:2] != (parts, PQ_CENTROIDS):
            raise SettingError(
                f"PQStore.centroids has {centroids.shape[0]} parts of {centroids.shape[1]} "
                f"centroids; codes of {parts} bytes a row need {parts} parts of {PQ_CENTROIDS} "
                "(train the quantiser with nbits=8)"
            )
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "centroids", centroids)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def dim(self) -> int:
        """The number of dimensions d."""
        return int(self.centroids.shape[0] * self.centroids.shape[2])

    @property
    def bytes_per_row(self) -> int:
        """Bytes read for one row."""
        return int(self.codes.shape[1])

    @cached_property
    def by_dimension(self) -> Floats:
        """The centroids as float32 ``(m, d / m, 256)``: the order look-up tables are built in."""
        return np.ascontiguousarray(self.centroids.transpose(0, 2, 1))

    def decode(self, rows: Rows) -> Floats:
        """Return rows ``(n,)`` as float32 ``(n, d)``."""
        codes = self.codes[rows]
        return self.centroids[np.arange(codes.shape[1]), codes].reshape(len(codes), self.dim)


Places: TypeAlias = tuple[int, int, int, int]
Store: TypeAlias = Float32Store | Float16Store | Int8Store | PQStore


def quantise_int8(vectors: npt.ArrayLike) -> tuple[Codes, Floats]:
    """Return ``codes`` int8 ``(n, d)`` and ``scales`` float32 ``(n,)`` of vectors ``(n, d)``.

    A row's largest magnitude becomes ±127, so an element is off by at most half a scale.
    A row of zeros gets the scale 0.

    Raises:
        SettingError: not two-dimensional, or a row holds NaN or infinite values.
    """
    table = np.asarray(vectors, dtype=np.float32)
    if table.ndim != 2:
        raise SettingError(f"vectors to quantise need the shape (n, d), got {table.shape}")
    peaks = np.abs(table).max(axis=1, initial=0.0)
    bad = np.flatnonzero(~np.isfinite(peaks))
    if bad.size:
        raise SettingError(f"vector {bad[0]} holds NaN or infinite values; encode it again")
    scales = (peaks / 127).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(scales[:, None] > 0, table / scales[:, None], 0.0)
    return np.clip(np.rint(steps), -127, 127).astype(np.int8), scales


def layout(store: Float32Store | Float16Store | Int8Store) -> tuple[Any, int, bool]:
    """Return a value whose type says how rows are stored, the bytes of one, and if it is scaled."""
    if isinstance(store, Int8Store):
        return np.int8(0), store.dim, True
    if isinstance(store, Float32Store):
        return np.float32(0), 4 * store.dim, False
    return np.uint16(0), 2 * store.dim, False


def row_places(store: Store, rows: Rows) -> tuple[Rows, Rows, Places]:
    """Return what tells the kernels where rows and their scales lie.

    Args:
        store: kept alive by the caller.
        rows: int64, C-contiguous; negative ones are not looked at.

    Returns:
        Two int64 arrays of the shape of ``rows``, for rows and scales, and ``(base, unit,
        scale_base, scale_unit)``: the address is ``base + unit * value``.
    """
    data = store.codes if isinstance(store, Int8Store | PQStore) else store.data
    scales = store.scales if isinstance(store, Int8Store) else None
    if isinstance(data, Segments):
        found = addresses_of(data, rows)
        return found, found if scales is None else addresses_of(scales, rows), (0, 1, 0, 1)
    scales_at = 0 if scales is None else scales.ctypes.data
    return rows, rows, (data.ctypes.data, data.strides[0], scales_at, 4)


def _table(array: Any, dtype: npt.DTypeLike, name: str) -> Any:
    """Return a plain view of a C-contiguous ``(T, d >= 1)`` array of the right type."""
    table = plain(array)
    if table.dtype != dtype or table.ndim != 2 or table.shape[1] == 0:
        raise SettingError(
            f"{name} needs {np.dtype(dtype).name} rows (T, d) with d >= 1, got "
            f"{table.dtype} {table.shape}"
        )
    if not isinstance(table, Segments) and not table.flags.c_contiguous:
        raise SettingError(f"{name} is not C-contiguous; pass np.ascontiguousarray of it")
    return table
