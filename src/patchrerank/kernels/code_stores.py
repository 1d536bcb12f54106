"""Stores of codes: product quantisation, and rotated vectors in one to four bits a dimension."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.kernels.checks import check_table
from patchrerank.kernels.packed_codes import (
    MOST_BITS,
    RABITQ_BITS,
    Bytes,
    code_bytes,
    unpacked,
)
from patchrerank.kernels.segments import Segments, places_of, plain
from patchrerank.types import Floats, Rows

Held: TypeAlias = tuple[tuple[Any, ...], tuple[Rows, Rows], tuple[Rows, Rows]]
"""How rows lie (see :func:`patchrerank.kernels.stores.layout`), or what look-up tables are made of
(centroids by dimension, or the rotation's signs ``(1, 4, d)``) and whether codes are rotated, their
bits, bytes of a row; where rows, and where scales lie."""
NOWHERE: Rows = np.zeros(0, dtype=np.int64)
NONE = (NOWHERE, NOWHERE)


@dataclass(frozen=True, eq=False)
class PQStore:
    """Product quantisation: part j of row t is ``centroids[j, code j of row t]``, j = 0…m-1.

    Codes of fewer than 8 bits lie one behind the other, the lowest bits of the first byte first,
    as faiss packs them. Those of 1, 2 and 4 bits are looked up in registers; others,
    a byte each, where registers have 32 bytes or more, else in memory.

    Source: Jégou et al., Product Quantization for Nearest Neighbor Search (TPAMI 2011);
    ``centroids`` has the layout of a faiss ``ProductQuantizer``.

    Attributes:
        codes: uint8 ``(T, ceil(m n / 8))``, C-contiguous.
        centroids: float32 ``(m, 2 ** n, d / m)``, n bits a part, 1 to 8.
    """

    codes: Bytes
    centroids: Floats

    def __post_init__(self) -> None:
        codes = check_table(self.codes, np.uint8, "PQStore.codes")
        centroids = np.ascontiguousarray(self.centroids)
        if centroids.dtype != np.float32 or centroids.ndim != 3 or centroids.shape[2] == 0:
            raise SettingError(
                "PQStore.centroids needs float32 (m, 2 ** n, d / m), got "
                f"{centroids.dtype} {centroids.shape}"
            )
        parts, count, _ = centroids.shape
        if count not in {1 << bits for bits in range(1, MOST_BITS + 1)} or codes.shape[
            1
        ] != code_bytes(parts, count.bit_length() - 1):
            raise SettingError(
                f"PQStore.centroids has {parts} parts of {count} centroids; that does not fit "
                f"codes of {codes.shape[1]} bytes a row (m parts of n bits take m n / 8 bytes and "
                "have 2 ** n centroids, n from 1 to 8)"
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
    def bits(self) -> int:
        """Bits of a part's code."""
        return int(self.centroids.shape[1]).bit_length() - 1

    @property
    def bytes_per_row(self) -> int:
        """Bytes read for one row."""
        return int(self.codes.shape[1])

    @cached_property
    def by_dimension(self) -> Floats:
        """The centroids as float32 ``(m, d / m, 2 ** n)``: how look-up tables are built."""
        return np.ascontiguousarray(self.centroids.transpose(0, 2, 1))

    @property
    def held(self) -> Held:
        """What kernels are told of it: addresses, so that nobody may keep it longer than it."""
        form = (False, self.bits, self.codes.shape[1])
        return (self.by_dimension, form), places_of(self.codes), NONE

    def decode(self, rows: Rows) -> Floats:
        """Return rows ``(n,)`` as float32 ``(n, d)``."""
        parts = self.centroids.shape[0]
        codes = unpacked(np.asarray(self.codes[rows]), parts, self.bits)
        return self.centroids[np.arange(parts), codes].reshape(len(codes), self.dim)


@dataclass(frozen=True, eq=False)
class RabitqStore:
    """Rotated vectors in b = 1 to 4 bits a dimension, with one factor a row; nothing is trained.

    Row t is ``scales[t]`` times its levels, rotated back. The factor makes the inner product
    with any query an unbiased estimate over rotations; the rotation is the same for all
    (:func:`patchrerank.kernels.rabitq.rotate`).

    Source: Gao & Long, RaBitQ (SIGMOD 2024); Gao et al., extended RaBitQ (SIGMOD 2025).

    Attributes:
        codes: uint8 ``(T, 8 ceil(d / 8) b / 8)``, C-contiguous.
        scales: float32 ``(T,)``.
        dim: the number of dimensions d.
    """

    codes: Bytes
    scales: Floats
    dim: int

    def __post_init__(self) -> None:
        codes = check_table(self.codes, np.uint8, "RabitqStore.codes")
        plane = -(-self.dim // 8) if self.dim > 0 else 0
        if codes.shape[1] not in {plane * bits for bits in RABITQ_BITS}:
            raise SettingError(
                f"RabitqStore.codes has {codes.shape[1]} bytes a row; {self.dim} dimensions take "
                f"{plane} times 1 to 4 bits"
            )
        object.__setattr__(self, "codes", codes)
        scales = check_scales(self.scales, len(codes), "RabitqStore.scales")
        object.__setattr__(self, "scales", scales)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def bits(self) -> int:
        """Bits a dimension."""
        return int(self.codes.shape[1]) // -(-self.dim // 8)

    @property
    def bytes_per_row(self) -> int:
        """Bytes read for one row, its factor included."""
        return int(self.codes.shape[1]) + 4

    @property
    def held(self) -> Held:
        """What kernels are told of it: addresses, so that nobody may keep it longer than it."""
        from patchrerank.kernels.rabitq import rotation_signs

        form = (True, self.bits, self.codes.shape[1])
        head = rotation_signs(self.dim)[None], form
        return head, places_of(self.codes), places_of(self.scales)

    def decode(self, rows: Rows) -> Floats:
        """Return rows ``(n,)`` as float32 ``(n, d)``."""
        from patchrerank.kernels.rabitq import levels_of, rotate

        levels = levels_of(np.asarray(self.codes[rows]), self.dim, self.bits)
        return rotate(levels * np.asarray(self.scales[rows])[:, None], back=True)


def check_scales(array: Any, rows: int, name: str) -> Any:
    """Return a plain view of float32 ``(rows,)``.

    Raises:
        SettingError: it is not that.
    """
    scales = plain(array)
    if scales.dtype != np.float32 or scales.shape != (rows,):
        raise SettingError(
            f"{name} needs float32 ({rows},), one scale a row, got {scales.dtype} {scales.shape}"
        )
    return scales if isinstance(scales, Segments) else np.require(scales, requirements=["C", "A"])
