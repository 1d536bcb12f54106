"""A loaded network with all that its identity rests on, before it is given a way to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchrerank.encoders.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

    from patchrerank.encoders.text_encoder import TextEncoder


@dataclass(frozen=True, eq=False)
class Network:
    """What a loader returns and an execution back end takes over.

    Attributes:
        architecture: what the weights are put into, such as ``timm:resnet50``; two networks may
            share weights and still differ (in their activation, for one).
        module: float32 on the CPU, in eval mode; maps normalised ``(B, 3, H, W)`` to ``(B, d)``.
        preprocessing: how its crops are made.
        weights: sha256 of the weights as they were loaded (see :func:`hash_weights`).
        channels_last: whether the module may be run in the channels-last memory format.
        pretrained: whether trained weights were asked for; recorded so that a gallery's encoder
            can be loaded again.
        pooling: how the last map or tokens become one vector (``token``, ``avg``, ``map`` …);
            None where nobody says.
        own_pooling: what the library's own pooling of that architecture is.
        text: the text tower that shares its space; None where there is none.
    """

    architecture: str
    module: torch.nn.Module
    preprocessing: Preprocessing
    weights: str
    channels_last: bool = True
    pretrained: bool = True
    pooling: str | None = None
    own_pooling: str | None = None
    text: TextEncoder | None = None

    def fingerprint(self, precision: str) -> str:
        """Return the identity of the vectors: architecture, weights, preprocessing, precision.

        And the pooling where it is not the architecture's own, which needs no word.
        """
        record: dict[str, object] = {
            "architecture": self.architecture,
            "weights": self.weights,
            "preprocessing": self.preprocessing.as_dict(),
        }
        if precision != "fp32":
            record["precision"] = precision
        if self.pooling != self.own_pooling:
            record["pooling"] = self.pooling
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Request:
    """What a loader is asked for.

    Attributes:
        name: the spec behind its prefix and colon; empty if there is none.
        preprocessing: replaces the model's own, or None.
        image_size: height and width, or None for the model's own.
        pretrained: False gives random weights, from a fixed seed.
    """

    name: str = ""
    preprocessing: Preprocessing | None = None
    image_size: tuple[int, int] | None = None
    pretrained: bool = True


def hash_weights(state: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 (hex) over names, dtypes, shapes and bytes of a state dict, by name."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def fixed_seed() -> Iterator[None]:
    """Make random weights reproducible; torch's generator is as before afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield
