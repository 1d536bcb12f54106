"""The contract of an execution back end."""

from __future__ import annotations

from typing import Protocol

from patchrerank.encoders.preprocessing import Crops
from patchrerank.types import Floats


class Backend(Protocol):
    """Runs one network.

    Attributes:
        name: what it is called, such as ``torch``.
        device: ``cpu``, ``cuda`` (or ``cuda:1``), ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
    """

    name: str
    device: str
    precision: str

    def __call__(self, crops: Crops) -> Floats:
        """Return the network's output, float32 ``(B, d)``, not normalised.

        Args:
            crops: uint8 ``(B, height, width, 3)``, ``B`` at least 1, one batch.

        Raises:
            EncoderError: the output is not one vector a crop, or memory ran out.
        """
        ...
