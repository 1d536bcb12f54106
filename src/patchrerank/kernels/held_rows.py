"""Rows of a store kept on a device: all of them, or as many as a number of bytes allows.

Where all fit, they are copied once. Else images stay on the device as they are asked for, the
first ones, until it is full; rows of all others are copied with each request that asks for them,
by way of pinned memory, so that the next block is gathered while one is copied and scored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from patchrerank.kernels._cuts import cuts, groups_of
from patchrerank.kernels._torch import Table, Tensor
from patchrerank.kernels.checks import check_spans
from patchrerank.kernels.code_stores import PQStore, RabitqStore
from patchrerank.kernels.copies import sent
from patchrerank.kernels.device_rows import row_bytes, rows_of
from patchrerank.kernels.rabitq import rotate
from patchrerank.kernels.segments import Rowwise, plain
from patchrerank.types import EMPTY, Floats, Rows

Columns: TypeAlias = tuple[npt.NDArray[Any], Floats | None, Floats | None]
"""Rows, their factors, their boxes."""
Boxes: TypeAlias = Callable[[Rows], Floats]
"""From rows of the store ``(n,)`` to where each was seen, float32 ``(n, 4)``."""

BOX_BYTES = 16
COPY_BYTES = 64 * 1024 * 1024
"""Rows that are copied to a device at a time."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some slots of shortlists, and the rows that they own in one table.

    Attributes:
        table: the rows.
        slots: int64 ``(n,)``, places in the flattened shortlists; None: all of them, in order.
        begins: int64 ``(n,)``, the first row of each in ``table``.
        counts: int64 ``(n,)``, how many; 0 for an empty slot.
        width: the largest of ``counts``, or more.
    """

    table: Table
    slots: Tensor | None
    begins: Tensor
    counts: Tensor
    width: int


class HeldRows:
    """The rows of images on a device, and the way of those that are not there.

    Args:
        store: the T rows, on the host; a store of codes becomes what is looked up or multiplied
            there: product quantisers one byte a part, rotated codes one byte a dimension.
        ends: int64 ``(N,)``, cumulative counts of images.
        device: where to.
        memory: bytes that may be kept there; None: any number.
        boxes: where each row was seen; None: nobody asks.

    Attributes:
        whole: whether all rows are there.
        nbytes: bytes that are taken there.
    """

    def __init__(
        self,
        store: Any,
        ends: Rowwise,
        device: torch.device,
        memory: int | None = None,
        boxes: Boxes | None = None,
    ) -> None:
        self.store, self.ends, self.device, self._boxes = store, plain(ends), device, boxes
        self._row_bytes = max(1, row_bytes(store) + (0 if boxes is None else BOX_BYTES))
        self._step = max(1, COPY_BYTES // self._row_bytes)
        self.whole = memory is None or len(store) * self._row_bytes <= memory
        room = len(store) if self.whole else int(memory or 0) // self._row_bytes
        self.nbytes = room * self._row_bytes
        self._lock = threading.Lock()
        self._centroids = None
        if isinstance(store, PQStore):
            self._centroids = torch.from_numpy(store.centroids).to(device)
        self._table = self._empty(room)
        if self.whole:
            self._fill_whole()
        elif room:
            self._at, self._used = np.full(len(self.ends), EMPTY, dtype=np.int64), 0

    @property
    def dim(self) -> int:
        """The number of dimensions d."""
        return int(self.store.dim)

    @property
    def has_boxes(self) -> bool:
        """Whether it is known where rows were seen."""
        return self._boxes is not None

    def queries(self, vectors: Floats) -> Tensor:
        """Return query vectors ``(n, d)`` there, in the space that the rows have."""
        turned = rotate(vectors) if isinstance(self.store, RabitqStore) else vectors
        return self.sent(turned)

    def sent(self, array: npt.NDArray[Any]) -> Tensor:
        """Return an array on the device; of a pinned copy, nobody waits for its arrival."""
        return sent(array, self.device)

    def decoded(self, rows: Rows) -> Tensor:
        """Return rows ``(n,)`` of a store that is there as a whole, float32 ``(n, d)``."""
        return self._table.decoded(self.sent(rows))

    def parts(self, rows: Rows) -> Iterator[Part]:
        """Yield the slots of shortlists ``(Q, K)`` with their rows, each slot once at most.

        Slots that no part has own no rows.

        Raises:
            ShortlistError: rows outside the gallery.
        """
        flat = np.ascontiguousarray(rows, dtype=np.int64).reshape(-1)
        if not flat.size or not len(self.store):
            check_spans(rows, self.ends, len(self.store))
        elif self.whole:
            if flat.min() < EMPTY or flat.max() >= len(self.ends):
                check_spans(rows, self.ends, len(self.store))  # says which
            yield from self._whole_parts(flat)
        else:
            with self._lock:
                yield from self._some_parts(flat, rows)

    def _whole_parts(self, flat: Rows) -> Iterator[Part]:
        """One part, unless images differ much in how many rows they have."""
        for width, slots in groups_of(self._counts[flat] * (flat >= 0) if self._ragged else None):
            here = self.sent(flat if slots is None else flat[slots])
            stops = self._ends[here.clamp(min=0)]
            begins = torch.where(here > 0, self._ends[(here - 1).clamp(min=0)], 0)
            counts = torch.where(here >= 0, stops - begins, 0)
            begins = begins.clamp(max=len(self.store) - 1)
            where = None if slots is None else self.sent(slots)
            yield Part(self._table, where, begins, counts, width or self._most)

    def _some_parts(self, flat: Rows, rows: Rows) -> Iterator[Part]:
        """What is there, and then, block by block, what has to be brought."""
        spans = check_spans(rows, self.ends, len(self.store))
        begins, counts = spans.begins.reshape(-1), spans.counts.reshape(-1)
        asked = np.flatnonzero(counts)
        room = len(self._table.data)
        away = asked[self._at[flat[asked]] == EMPTY] if room else asked
        _, first = np.unique(flat[away], return_index=True)
        wanted = away[np.sort(first)]
        if room:
            stays = self._used + np.cumsum(counts[wanted]) <= room
            self._admit(flat, wanted[stays], begins, counts)
            wanted = wanted[~stays]
            there = asked[self._at[flat[asked]] != EMPTY]
            yield from self._grouped(self._table, there, self._at[flat[there]], counts[there])
        yield from self._brought(flat, asked, wanted, begins, counts)

    def _admit(self, flat: Rows, slots: Rows, begins: Rows, counts: Rows) -> None:
        """Let the images of slots stay on the device."""
        for start, stop in cuts(np.cumsum(counts[slots]), self._step):
            here = slots[start:stop]
            ends = self._used + np.cumsum(counts[here])
            there = slice(self._used, int(ends[-1]))
            _copy(self._brought_rows(begins[here], counts[here]), self._table, there)
            self._at[flat[here]] = ends - counts[here]
            self._used = there.stop

    def _brought(
        self, flat: Rows, asked: Rows, wanted: Rows, begins: Rows, counts: Rows
    ) -> Iterator[Part]:
        """Yield parts of images that leave again: those of the slots ``wanted``, one an image."""
        if not len(wanted):
            return
        order = np.argsort(flat[wanted], kind="stable")
        images = flat[wanted][order]
        for start, stop in cuts(np.cumsum(counts[wanted]), self._step):
            here = wanted[start:stop]
            table = self._brought_rows(begins[here], counts[here])
            at = np.full(len(images), EMPTY, dtype=np.int64)
            at[np.searchsorted(images, flat[here])] = np.cumsum(counts[here]) - counts[here]
            place = np.searchsorted(images, flat[asked]).clip(max=len(images) - 1)
            found = np.where(images[place] == flat[asked], at[place], EMPTY)
            own = found != EMPTY
            yield from self._grouped(table, asked[own], found[own], counts[asked[own]])

    def _grouped(self, table: Table, slots: Rows, begins: Rows, counts: Rows) -> Iterator[Part]:
        for width, own in groups_of(counts) if len(slots) else ():
            where = slice(None) if own is None else own
            own_slots, at, own_counts = (self.sent(p[where]) for p in (slots, begins, counts))
            yield Part(table, own_slots, at, own_counts, width)

    def _fill_whole(self) -> None:
        for start in range(0, len(self.store), self._step):
            rows = np.arange(start, min(start + self._step, len(self.store)))
            _copy(self._sent_rows(rows), self._table, slice(start, start + len(rows)))
        ends = np.asarray(self.ends[:], dtype=np.int64)
        self._counts = np.diff(ends, prepend=0)
        self._most = int(self._counts.max(initial=0))
        filled = max(1, int((self._counts > 0).sum()))
        self._ragged = self._most * filled > 2 * len(self.store)
        self._ends = self.sent(ends)

    def _brought_rows(self, begins: Rows, counts: Rows) -> Table:
        shifts = np.repeat(begins - (np.cumsum(counts) - counts), counts)
        return self._sent_rows(shifts + np.arange(len(shifts)))

    def _sent_rows(self, rows: Rows) -> Table:
        data, scales, boxes = self._read(rows)
        factors = None if scales is None else self.sent(scales)
        where = None if boxes is None else self.sent(boxes)
        return Table(self.sent(data), factors, where, self._centroids)

    def _empty(self, room: int) -> Table:
        def like(part: npt.NDArray[Any]) -> Tensor:
            dtype = torch.from_numpy(part).dtype
            return torch.empty((room, *part.shape[1:]), dtype=dtype, device=self.device)

        data, scales, boxes = self._read(np.zeros(0, np.int64))
        factors, where = (None if part is None else like(part) for part in (scales, boxes))
        return Table(like(data), factors, where, self._centroids)

    def _read(self, rows: Rows) -> Columns:
        boxes = None if self._boxes is None else self._boxes(rows)
        return *rows_of(self.store, rows), boxes


def _copy(rows: Table, table: Table, there: slice) -> None:
    for name in ("data", "scales", "boxes"):
        if (target := getattr(table, name)) is not None:
            target[there].copy_(getattr(rows, name), non_blocking=True)
