"""The contract of an execution back end."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from patchrerank.encoders.preprocessing import Crops
from patchrerank.errors import EncoderError, shown
from patchrerank.types import Floats

if TYPE_CHECKING:
    from patchrerank.encoders.network import Network

Precision = Literal["fp32", "bf16", "fp16"]
"""Of weights and activations."""


class Backend(Protocol):
    """Runs one network.

    Attributes:
        name: what it is called, such as ``openvino``.
        device: ``cpu``, ``cuda`` (or ``cuda:1``), ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        batch_size: the most crops in one batch.
    """

    name: ClassVar[str]
    device: str
    precision: Precision
    batch_size: int

    def __init__(
        self,
        network: Network,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        batch_size: int | None = None,
    ) -> None:
        """Take a network over; its module may be changed (device, dtype, layout).

        Raises:
            EncoderError: this back end cannot run it, there, in that precision, or its vectors
                are not those of torch.
            MissingExtraError: a package is absent.
        """
        ...

    def __call__(self, batches: Iterable[Crops]) -> Floats:
        """Return the network's output for all crops, float32 ``(N, d)``, not normalised.

        Several batches may run at a time. The same batches give the same bits, whatever ran
        before.

        Args:
            batches: at least one; uint8 ``(B, height, width, 3)`` with ``B`` in 1 … batch_size.
                May be slow to come: what is there already runs meanwhile.

        Raises:
            EncoderError: the output is not one vector a crop, or memory ran out.
        """
        ...


def check_batch_size(batch_size: int | None, default: int) -> int:
    """Return ``batch_size``, or ``default`` where it is None.

    Raises:
        EncoderError: below 1, or no whole number.
    """
    if batch_size is None:
        return default
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise EncoderError(
            f"batch_size must be a whole number of at least 1, got {shown(batch_size)}"
        )
    return int(batch_size)


def check_cpu_fp32(name: str, device: str, precision: str) -> None:
    """Refuse devices and precisions that a back end made for the CPU does not run.

    Raises:
        EncoderError: any device but ``cpu``, any precision but ``fp32``.
    """
    if device != "cpu":
        raise EncoderError(
            f"backend {name!r} runs on the CPU only, not on {device!r}; pass device='cpu', or "
            "backend='eager'"
        )
    if precision != "fp32":
        raise EncoderError(
            f"backend {name!r} computes in fp32 only, not in {precision!r}; pass "
            "backend='eager' for half precision"
        )
