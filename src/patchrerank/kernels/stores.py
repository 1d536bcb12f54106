"""Stores: the flat rows of patch (or local descriptor) vectors, as they are or in few bits.

A store only points at arrays; memory-mapped ones stay on disk and are read in place, those of
several folders too (:class:`~patchrerank.kernels.segments.Segments` in place of an array).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.kernels.checks import check_table
from patchrerank.kernels.code_stores import NONE, Held, PQStore, RabitqStore, check_scales
from patchrerank.kernels.segments import Segments, addresses_of, places_of
from patchrerank.types import Floats, Rows

Codes = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Float32Store:
    """Rows as they are: ``data`` float32 ``(T, d)``, C-contiguous."""

    data: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", check_table(self.data, np.float32, "Float32Store.data"))

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

    @property
    def held(self) -> Held:
        """What kernels are told of it: addresses, so that nobody may keep it longer than it."""
        return layout(self), places_of(self.data), NONE

    def decode(self, rows: Rows) -> Floats:
        """Return rows ``(n,)`` as float32 ``(n, d)``."""
        return np.asarray(self.data[rows])


@dataclass(frozen=True, eq=False)
class Float16Store:
    """Half the bytes, about three digits: ``data`` float16 ``(T, d)``, C-contiguous."""

    data: npt.NDArray[np.float16]

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", check_table(self.data, np.float16, "Float16Store.data"))

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

    @property
    def held(self) -> Held:
        """What kernels are told of it: addresses, so that nobody may keep it longer than it."""
        return layout(self), places_of(self.data), NONE

    def decode(self, rows: Rows) -> Floats:
        """Return rows ``(n,)`` as float32 ``(n, d)``."""
        return self.data[rows].astype(np.float32)


@dataclass(frozen=True, eq=False)
class Int8Store:
    """A quarter of the bytes: row t is ``scales[t] * codes[t]``; queries are rounded to 16 bits.

    Attributes:
        codes: int8 ``(T, d)``, C-contiguous.
        scales: float32 ``(T,)``, finite and at least 0.
    """

    codes: Codes
    scales: Floats

    def __post_init__(self) -> None:
        codes = check_table(self.codes, np.int8, "Int8Store.codes")
        object.__setattr__(self, "codes", codes)
        scales = check_scales(self.scales, len(codes), "Int8Store.scales")
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

    @property
    def held(self) -> Held:
        """What kernels are told of it: addresses, so that nobody may keep it longer than it."""
        return layout(self), places_of(self.codes), places_of(self.scales)

    def decode(self, rows: Rows) -> Floats:
        """Return rows ``(n,)`` as float32 ``(n, d)``."""
        return self.codes[rows].astype(np.float32) * self.scales[rows][:, None]


Coded: TypeAlias = PQStore | RabitqStore
Plain: TypeAlias = Float32Store | Float16Store | Int8Store
RESCORE = 60
"""How many candidates of a query are scored again by exact rows, unless said otherwise."""


@dataclass(frozen=True, eq=False)
class RescoredStore:
    """Codes by which all candidates are scored, and finer rows that score the best of them again.

    Attributes:
        codes: T rows.
        exact: the same rows, finer.
        rescore: how many candidates of each query are scored again, at least 0; where that is all
            of them, codes are not looked at.
    """

    codes: Coded
    exact: Plain
    rescore: int = RESCORE

    def __post_init__(self) -> None:
        if (len(self.codes), self.codes.dim) != (len(self.exact), self.exact.dim):
            raise SettingError(
                f"codes of {len(self.codes)} rows of {self.codes.dim} dimensions, and "
                f"{len(self.exact)} exact rows of {self.exact.dim}; both must be the same rows"
            )
        if not isinstance(self.rescore, int) or self.rescore < 0:
            raise SettingError(f"rescore must be a whole number of at least 0, got {self.rescore}")

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def dim(self) -> int:
        """The number of dimensions d."""
        return self.exact.dim

    @property
    def bytes_per_row(self) -> int:
        """Bytes of one row; of a candidate that is not among the best only the codes are read."""
        return self.codes.bytes_per_row + self.exact.bytes_per_row

    def decode(self, rows: Rows) -> Floats:
        """Return rows ``(n,)`` as float32 ``(n, d)``, from the exact ones."""
        return self.exact.decode(rows)


Places: TypeAlias = tuple[int, int, int, int]
SingleStore: TypeAlias = Plain | Coded
Store: TypeAlias = SingleStore | RescoredStore


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


TAGS: dict[type, Any] = {
    Float32Store: np.float32(0),
    Float16Store: np.uint16(0),
    Int8Store: np.int8(0),
}
"""Store → a value whose type says how its rows lie."""


def layout(store: Plain) -> tuple[Any, int, bool]:
    """Return a value whose type says how rows are stored, the bytes of one, and if it is scaled."""
    tag = TAGS[type(store)]
    return tag, tag.itemsize * store.dim, isinstance(store, Int8Store)


def row_places(store: SingleStore, rows: Rows) -> tuple[Rows, Rows, Places]:
    """Return what tells the kernels where rows and their scales lie.

    Args:
        store: kept alive by the caller.
        rows: int64, C-contiguous; negative ones are not looked at.

    Returns:
        Two int64 arrays of the shape of ``rows``, for rows and scales, and ``(base, unit,
        scale_base, scale_unit)``: the address is ``base + unit * value``.
    """
    data = store.data if isinstance(store, Float32Store | Float16Store) else store.codes
    scales = store.scales if isinstance(store, Int8Store | RabitqStore) else None
    if isinstance(data, Segments):
        found = addresses_of(data, rows)
        return found, found if scales is None else addresses_of(scales, rows), (0, 1, 0, 1)
    scales_at = 0 if scales is None else scales.ctypes.data
    return rows, rows, (data.ctypes.data, data.strides[0], scales_at, 4)
