"""Devices, and the stores whose rows are kept on them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import torch

from patchrerank.errors import SettingError, short_reason
from patchrerank.kernels.device_rows import row_bytes
from patchrerank.kernels.held_rows import Boxes, HeldRows
from patchrerank.kernels.segments import Rowwise

FREE_SHARE = 0.8
"""Of a device's free memory that rows may take where nobody says how much."""


def open_device(name: str) -> torch.device:
    """Return the device of a name: what torch knows; ``torch:`` may stand before it.

    Raises:
        SettingError: torch does not know it, or it is not here.
    """
    try:
        device = torch.device(name.removeprefix("torch:"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingError(
            f"device {name!r} cannot be used: {short_reason(error)}; use cpu, cuda, cuda:<number> "
            "or mps, where torch has it"
        ) from error
    return device


@dataclass(eq=False)
class Device:
    """Where scores are computed, and what is kept there.

    Attributes:
        name: ``cuda``, ``cuda:1``, ``mps``; ``torch:cpu`` runs the same code on the CPU.
        memory: bytes that rows may take there; None: four fifths of what is free, or all that is
            asked for where the device does not say.
    """

    name: str
    memory: int | None = None
    _held: dict[tuple[int, bool], HeldRows] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __reduce__(self) -> tuple[type[Device], tuple[str, int | None]]:
        return Device, (self.name, self.memory)

    def check(self) -> None:
        """Raise a ``SettingError`` if there is no such device here."""
        open_device(self.name)

    def hold(self, store: Any, ends: Rowwise, boxes: Boxes | None = None) -> HeldRows:
        """Return the rows of a store, which are copied when they are first held."""
        with self._lock:
            key = id(store), boxes is not None
            if key not in self._held:
                left = self._left()
                self._held[key] = HeldRows(store, ends, open_device(self.name), left, boxes)
            return self._held[key]

    def whole(self, store: Any, ends: Rowwise) -> HeldRows | None:
        """Return the rows of a store, with boxes or without, if all of them fit; else None."""
        with self._lock:
            with_boxes = self._held.get((id(store), True))
            left = self._left()
        if with_boxes is not None and with_boxes.whole:
            return with_boxes
        known = (id(store), False) in self._held
        if not known and left is not None and len(store) * row_bytes(store) > left:
            return None
        return self.hold(store, ends)

    def _left(self) -> int | None:
        if self.memory is not None:
            return max(0, self.memory - sum(held.nbytes for held in self._held.values()))
        device = open_device(self.name)
        if device.type == "cuda":
            return int(FREE_SHARE * torch.cuda.mem_get_info(device)[0])
        return None
