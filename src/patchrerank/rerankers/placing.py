"""Where scores are computed, as an option of everything that reranks."""

from __future__ import annotations

import logging
from copy import copy
from numbers import Integral
from typing import TYPE_CHECKING, Self

from patchrerank.errors import SettingError, shown

if TYPE_CHECKING:
    from patchrerank.kernels.devices import Device

logger = logging.getLogger(__name__)


class OnDevices:
    """What a ranker has of devices.

    Attributes:
        device: where it scores; None: on the CPU.
    """

    device: Device | None = None

    def on_device(self, device: str, memory: int | None = None) -> Self:
        """Return one that scores on a device, where its stages can; the others stay on the CPU.

        Patches (and local descriptors, for ``chamfer``, ``ames`` and ``elvis``) are copied there
        when they are first asked for: all, if they fit; else images stay there as they are asked
        for until the memory is full, and the rest is copied with each request. The order and the
        boxes are those of the CPU, but for rounding; where a gallery has finer rows beside codes,
        they score all candidates, as if ``rescore`` were no limit. See ``docs/devices.md``.

        Args:
            device: ``cuda``, ``cuda:<number>``, ``mps``; ``cpu``: nothing but the CPU's kernels;
                ``torch:cpu`` runs on the CPU what runs on a device, for tests.
            memory: bytes that a gallery's rows may take there, all stages together; None: four
                fifths of what is free on a CUDA device, and no limit elsewhere.

        Raises:
            SettingError: there is no such device, or less than no memory.
        """
        if memory is not None and (not isinstance(memory, Integral) or memory < 0):
            raise SettingError(f"memory must be a number of bytes or None, got {shown(memory)}")
        if device == "cpu":
            return self._placed(None)
        from patchrerank.kernels.devices import Device

        found = Device(device, memory)
        found.check()
        return self._placed(found)

    def _placed(self, device: Device | None) -> Self:
        """Return one that scores there; here itself: it runs on the CPU alone."""
        if device is not None:
            logger.info("%s scores on the CPU, not on %s", self, device.name)
        return self

    def _with_device(self, device: Device | None) -> Self:
        made = copy(self)
        made.device = device
        return made
