"""The network runs in torch, compiled by ``torch.compile``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from patchrerank.encoders.backends.agreement import Agreement
from patchrerank.encoders.backends.base import Precision
from patchrerank.encoders.backends.torch_eager import TorchEager, choose_device
from patchrerank.encoders.network import Network
from patchrerank.encoders.preprocessing import Crops
from patchrerank.errors import EncoderError

if TYPE_CHECKING:
    import torch


class TorchCompile(TorchEager):
    """Runs a network through ``torch.compile``; every batch is filled up to ``batch_size``.

    There is one shape, so one compilation (at loading, seconds to minutes), and the bits of a
    vector do not depend on which shapes came before. A single query costs as much as a batch.
    On the CPU, torch needs a C++ compiler.
    """

    name: ClassVar[str] = "compile"

    def __init__(
        self,
        network: Network,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        batch_size: int | None = None,
    ) -> None:
        device = choose_device(device)
        agreement = Agreement.of(network, device, precision)
        super().__init__(network, device=device, precision=precision, batch_size=batch_size)
        self._module.compile(dynamic=False)
        try:
            agreement.check(self.name, self._run, self.batch_size)
        except EncoderError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise EncoderError(
                f"torch cannot compile {network.architecture} ({type(error).__name__}: {text}); "
                "on the CPU it needs a C++ compiler. Pass backend='eager'"
            ) from error

    def _launch(self, crops: Crops) -> torch.Tensor:
        missing = self.batch_size - len(crops)
        if not missing:
            return super()._launch(crops)
        filled = np.concatenate([crops, np.zeros((missing, *crops.shape[1:]), dtype=np.uint8)])
        return super()._launch(filled)[: len(crops)]
