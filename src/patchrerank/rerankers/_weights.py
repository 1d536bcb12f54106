"""Where a learned reranker's network comes from: a checkpoint file, or a torch module."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from patchrerank.errors import SettingError
from patchrerank.rerankers.networks.configs import State
from patchrerank.rerankers.trained import Architecture, trained_in

if TYPE_CHECKING:
    from patchrerank.rerankers.networks.projection import PairNetwork

CheckpointPath = str | os.PathLike[str]
Network = TypeVar("Network", bound="PairNetwork")


class FromShapes(Architecture, Protocol):
    """An architecture of which a checkpoint's shapes tell something."""

    @classmethod
    def of_state(cls, state: State, origin: str) -> Self:
        """Derive it; what shapes do not show is as published."""
        ...


@dataclass(frozen=True, eq=False)
class Weights:
    """Where a learned reranker's network comes from: exactly one of the first two.

    Attributes:
        checkpoint: a file with the authors' key names (see :func:`load_network`).
        network: a torch module of the method; it is copied.
        config: the architecture, where a checkpoint does not show it.
    """

    checkpoint: CheckpointPath | None
    network: Any
    config: Any

    def open(self, name: str, make: type[Network], kind: type[FromShapes]) -> Network:
        """Return the network in evaluation mode, without gradients.

        Raises:
            SettingError: neither or both of checkpoint and network, or another kind of network.
            EncoderError: the checkpoint cannot be read or does not fit.
        """
        if (self.checkpoint is None) == (self.network is None):
            raise SettingError(
                f"{name} needs trained weights: pass checkpoint= (the authors' file, or one of "
                "your own training) or network=, and not both"
            )
        if self.checkpoint is not None:
            return load_network(self.checkpoint, make, kind, self.config)
        if self.config is not None:
            raise SettingError(f"{name}: config belongs to a checkpoint; a network has its own")
        if not isinstance(self.network, make):
            raise SettingError(
                f"{name}: network is a {type(self.network).__name__}, not a {make.__name__}"
            )
        return copy.deepcopy(self.network).eval().requires_grad_(False)


def load_network(
    checkpoint: CheckpointPath,
    make: Callable[[Any], Network],
    kind: type[FromShapes],
    config: FromShapes | None = None,
) -> Network:
    """Return a network with the weights of a checkpoint file, in evaluation mode.

    The file is one of ``torch.save`` (a state dict, alone or below ``state``) or ``.safetensors``;
    it is read without running code from it, and every key and shape must fit.

    Args:
        checkpoint: the file.
        make: makes the network of a configuration.
        kind: the class of configurations.
        config: the configuration; None: as recorded by ``patchrerank train``, else derived from
            the shapes.

    Raises:
        EncoderError: the file is missing, damaged or holds other objects than tensors; keys are
            missing, unexpected or of another shape; values are not finite. File and key are named.
    """
    import torch

    from patchrerank.encoders.checkpoints import (
        check_finite,
        load_strictly,
        read_content,
        weights_in,
    )

    content, origin = read_content(checkpoint), os.fspath(checkpoint)
    state = weights_in(content, origin)
    check_finite(state, origin)
    settings = config or trained_in(content, origin).complete(kind.of_state(state, origin))
    with torch.device("meta"):
        network = make(settings)
    network = network.to_empty(device="cpu")
    load_strictly(network, state, origin=origin)
    return network.eval().requires_grad_(False)
