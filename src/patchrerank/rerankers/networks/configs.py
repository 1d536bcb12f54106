"""What the networks of the learned rerankers are made of; read from checkpoints without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from patchrerank.errors import EncoderError, SettingError

ELVIS_DIM = 128
"""Dimensions in which ELViS compares descriptors; fixed by its dust-bin network."""


class Shaped(Protocol):
    """Anything with a shape, such as a tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each dimension."""
        ...


State = Mapping[str, Shaped]


@dataclass(frozen=True)
class AmesConfig:
    """The architecture of AMES; the defaults are the published network for DINOv2 (ECCV 2024).

    Attributes:
        local_dim: D0, dimensions of the descriptors that come in.
        model_dim: D, dimensions inside.
        HIDDEN: what the shapes of weights do not show.
        heads: attention heads; must divide ``model_dim``. Not visible in a checkpoint.
        layers: how many times self-attention, cross-attention and feed-forward follow.
        feedforward_dim: width of the feed-forward blocks.
        activation: in the feed-forward blocks. Not visible in a checkpoint.
        prenorm: layer norms in front of the blocks instead of behind them.
        binarized: descriptors are reduced to the signs of D projections.
    """

    HIDDEN: ClassVar[tuple[str, ...]] = ("heads", "activation")
    local_dim: int = 768
    model_dim: int = 128
    heads: int = 2
    layers: int = 5
    feedforward_dim: int = 1024
    activation: Literal["relu", "gelu"] = "relu"
    prenorm: bool = False
    binarized: bool = False

    def __post_init__(self) -> None:
        _check_positive(self, ("local_dim", "model_dim", "heads", "layers", "feedforward_dim"))
        if self.model_dim % self.heads:
            raise SettingError(f"{self.heads} heads do not divide model_dim {self.model_dim}")
        if self.activation not in ("relu", "gelu"):
            raise SettingError(f"activation is {self.activation!r}; use 'relu' or 'gelu'")

    @classmethod
    def of_state(cls, state: State, origin: str) -> AmesConfig:
        """Derive what the shapes of a checkpoint tell; heads and activation are the published.

        Raises:
            EncoderError: entries of AMES are missing or have another number of dimensions.
        """
        known = _Shapes(state, origin, "AMES")
        local_dim, model_dim, binarized = known.projection()
        numbers = {
            found[1] for key in state if (found := re.match(r"decoder\.layers\.(\d+)\.", key))
        }
        return cls(
            local_dim=local_dim,
            model_dim=model_dim,
            heads=2 if model_dim % 2 == 0 else 1,
            layers=max(1, len(numbers)),
            feedforward_dim=known.of("decoder.layers.0.linear1.weight", 2)[0],
            prenorm="decoder.norm.weight" in state,
            binarized=binarized,
        )


@dataclass(frozen=True)
class ElvisConfig:
    """The architecture of ELViS; the defaults are the published network for DINOv2 (ICLR 2026).

    Attributes:
        HIDDEN: what the shapes of weights do not show.
        local_dim: D0, dimensions of the descriptors that come in.
        embed_dim: width of the network that turns a match into a vote.
        proj_dim: width of the network behind the sum of votes, used in training alone.
        iterations: Sinkhorn iterations. Not visible in a checkpoint.
        temperature: τ, by which similarities are multiplied in front of Sinkhorn. Not visible
            in a checkpoint.
        binarized: descriptors are reduced to the signs of 128 projections.
    """

    HIDDEN: ClassVar[tuple[str, ...]] = ("iterations", "temperature")
    local_dim: int = 768
    embed_dim: int = 16
    proj_dim: int = 64
    iterations: int = 10
    temperature: float = 10.0
    binarized: bool = False

    def __post_init__(self) -> None:
        _check_positive(self, ("local_dim", "embed_dim", "proj_dim", "iterations"))
        if not 0.0 < self.temperature < float("inf"):
            raise SettingError(f"temperature must be finite and above 0, got {self.temperature}")

    @property
    def model_dim(self) -> int:
        """D, dimensions in which descriptors are compared."""
        return ELVIS_DIM

    @classmethod
    def of_state(cls, state: State, origin: str) -> ElvisConfig:
        """Derive what the shapes of a checkpoint tell; the rest is the published configuration.

        Raises:
            EncoderError: entries of ELViS are missing or have another number of dimensions.
        """
        known = _Shapes(state, origin, "ELViS")
        local_dim, _, binarized = known.projection()
        return cls(
            local_dim=local_dim,
            embed_dim=known.of("f.0.weight", 2)[0],
            proj_dim=known.of("g.0.weight", 2)[0],
            binarized=binarized,
        )


MARKS = {"AMES": "mtc_token", "ELViS": "dust_bin"}
"""An entry that only this network's checkpoints have."""


@dataclass(frozen=True)
class _Shapes:
    """The shapes of a checkpoint's entries, with errors that name file and key."""

    state: State
    origin: str
    kind: str

    def of(self, key: str, dimensions: int) -> tuple[int, ...]:
        """Return the shape of ``key``, which must have so many dimensions."""
        if key not in self.state:
            others = [kind for kind, mark in MARKS.items() if mark in self.state]
            hint = (
                f"; it looks like one of {others[0]}" if others and others[0] != self.kind else ""
            )
            raise EncoderError(
                f"{self.origin}: no entry {key!r}, so this is no checkpoint of {self.kind}{hint}"
            )
        shape = tuple(int(size) for size in self.state[key].shape)
        if len(shape) != dimensions or 0 in shape:
            raise EncoderError(
                f"{self.origin}: entry {key!r} has the shape {shape}, {dimensions} dimensions of "
                f"at least 1 are needed; was it saved from {self.kind}?"
            )
        return shape

    def projection(self) -> tuple[int, int, bool]:
        """Return D0, D, and whether descriptors are binarised."""
        if MARKS[self.kind] not in self.state:
            self.of(MARKS[self.kind], 0)
        if "remap_local.0.W" in self.state:
            local_dim, model_dim = self.of("remap_local.0.W", 2)
            return local_dim, model_dim, True
        model_dim, local_dim = self.of("remap_local.0.weight", 2)
        return local_dim, model_dim, False


def _check_positive(config: AmesConfig | ElvisConfig, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(config, name)
        if value < 1:
            raise SettingError(f"{name} must be at least 1, got {value}")
