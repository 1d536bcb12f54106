"""The network runs in torch, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from patchrerank.encoders.backends.base import Precision, check_batch_size
from patchrerank.encoders.network import Network
from patchrerank.encoders.preprocessing import Crops, Preprocessing
from patchrerank.errors import EncoderError, described
from patchrerank.types import Floats

if TYPE_CHECKING:
    import torch

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
CPU_BATCH = 16
ACCELERATOR_BATCH = 256


class TorchEager:
    """Runs a network in torch's eager mode; takes its module over (device, dtype, layout).

    Normalisation is folded into one multiply-add on the device, in float32. Weights and
    activations then have the asked precision; no setting of torch itself is changed.
    """

    name: ClassVar[str] = "eager"

    def __init__(
        self,
        network: Network,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        batch_size: int | None = None,
    ) -> None:
        import torch

        if precision not in PRECISIONS:
            raise EncoderError(
                f"precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}"
            )
        self.device = choose_device(device)
        self.precision = precision
        default = CPU_BATCH if self.device == "cpu" else ACCELERATOR_BATCH
        self.batch_size = check_batch_size(batch_size, default)
        self._dtype = getattr(torch, PRECISIONS[precision])
        self._channels_last = network.channels_last
        module = network.module.eval().requires_grad_(False).to(self.device, self._dtype)
        if network.channels_last:
            module = module.to(memory_format=torch.channels_last)
        self._module = module
        self._scale, self._shift = multiply_add(network.preprocessing, self.device)

    def __call__(self, batches: Iterable[Crops]) -> Floats:
        """Return float32 ``(N, d)`` for batches of uint8 crops; see ``Backend``.

        On an accelerator a batch is sent while the one before runs, and vectors are fetched one
        batch late, so that the network never waits for the host.
        """
        if self.device == "cpu":
            return np.concatenate([self._run(crops) for crops in batches])
        return np.concatenate(list(self._one_late(batches)))

    def _run(self, crops: Crops) -> Floats:
        from patchrerank.kernels.copies import begin_fetch

        return begin_fetch(self._launch(crops))()

    def _one_late(self, batches: Iterable[Crops]) -> Iterator[Floats]:
        from patchrerank.kernels.copies import begin_fetch

        waiting: Callable[[], Floats] | None = None
        for crops in batches:
            launched = begin_fetch(self._launch(crops))
            if waiting is not None:
                yield waiting()
            waiting = launched
        if waiting is not None:
            yield waiting()

    def _launch(self, crops: Crops) -> torch.Tensor:
        """Return the vectors, which an accelerator may still be computing."""
        import torch

        with torch.inference_mode():
            try:
                output = self._module(self._normalised(crops))
            except torch.cuda.OutOfMemoryError as error:
                raise EncoderError(
                    f"{self.device} has too little memory for a batch of {len(crops)} crops; "
                    "load the encoder with a smaller batch_size"
                ) from error
            return _as_vectors(output, len(crops))

    def _normalised(self, crops: Crops) -> torch.Tensor:
        import torch

        from patchrerank.kernels.copies import send_ahead

        pixels = send_ahead(crops, torch.device(self.device)).permute(0, 3, 1, 2).float()
        torch.addcmul(self._shift, pixels, self._scale, out=pixels)
        layout = torch.channels_last if self._channels_last else torch.contiguous_format
        return pixels.to(self._dtype).contiguous(memory_format=layout)


def choose_device(device: str) -> str:
    """Return the torch device for ``auto``, ``cpu``, ``cuda``, ``cuda:<number>`` or ``mps``.

    ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        EncoderError: the name is unknown, or there is no such device here.
    """
    import torch

    kind, number = check_device(device)
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    if kind == "cuda" and not (cuda and int(number or 0) < torch.cuda.device_count()):
        raise EncoderError(
            f"device {device!r}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            "devices; use device='cpu', or install a driver and a torch build with CUDA"
        )
    if kind == "mps" and not mps:
        raise EncoderError("device 'mps' is not available here; use device='cpu'")
    return device


def check_device(device: str) -> tuple[str, str]:
    """Return the kind and the number (or nothing) of a device's name; torch is not loaded.

    Raises:
        EncoderError: the name is unknown.
    """
    if not isinstance(device, str):
        raise EncoderError(
            f"the device is {described(device)}; use auto, cpu, cuda, cuda:<number> or mps"
        )
    kind, _, number = device.partition(":")
    numbered = number.isdigit() and kind == "cuda"
    if device != "auto" and (kind not in ("cpu", "cuda", "mps") or (number and not numbered)):
        raise EncoderError(f"device {device!r} is unknown; use auto, cpu, cuda, cuda:<number>, mps")
    return kind, number


def multiply_add(preprocessing: Preprocessing, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale and shift, ``(1, 3, 1, 1)``: (x / 255 − mean) / std = x · scale + shift."""
    import torch

    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    pair = [(1.0 / (255.0 * std)), (-mean / std)]
    scale, shift = (
        torch.tensor(values, dtype=torch.float32, device=device).reshape(1, 3, 1, 1)
        for values in pair
    )
    return scale, shift


def _as_vectors(output: object, count: int) -> torch.Tensor:
    import torch

    if not isinstance(output, torch.Tensor) or output.ndim != 2 or len(output) != count:
        found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise EncoderError(
            f"the network must return one vector a crop, a tensor ({count}, d); got {found}; "
            "pool feature maps and pick one output of several in the module's forward"
        )
    return output.float()
