"""Which local descriptors of a picture are kept: the strongest by norm, or by a detector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from patchrerank.encoders.checkpoints import load_strictly, read_checkpoint
from patchrerank.encoders.network import hash_weights
from patchrerank.errors import EncoderError, SettingError

if TYPE_CHECKING:
    import torch
    from torch import nn

PREFIXES = ("attention.", "detector.", "attn.")
"""Under which names a checkpoint of a larger model may hold the detector."""


QueryPart = Literal["box", "foreground", "salient", "all"]
"""Which part of a query picture is searched for; see :class:`Selection`."""


@dataclass(frozen=True)
class Selection:
    """How many local descriptors of a picture are kept, and which.

    Attributes:
        count: the most that are kept, over all scales; None keeps all.
        by: ``norm``, the length of a descriptor before it is normalised, or ``detector``.
        detector: weights of the attention detector (safetensors or torch), for ``detector``.
        projected: keep the detector's own features (behind its first convolution and norm)
            instead of the network's: what AMES (ECCV 2024) stores.
        query_part: of query pictures only the descriptors are kept that lie in their ``box`` or
            mask, where they have one; ``foreground``: and not on a plain background (see
            :func:`patchrerank.encoders.foreground_mask`), where it is plain; ``salient``: where
            they have neither, those unlike the border (see :func:`salient_part`); ``all``: all,
            box or no box. Pictures of the gallery always keep all.
    """

    count: int | None = None
    by: Literal["norm", "detector"] = "norm"
    detector: Path | None = None
    projected: bool = False
    query_part: QueryPart = "box"

    def __post_init__(self) -> None:
        if self.query_part not in get_args(QueryPart):
            raise SettingError(
                f"selection: query_part is {self.query_part!r}; use one of "
                f"{', '.join(get_args(QueryPart))}"
            )
        if self.count is not None and self.count < 1:
            raise SettingError(
                f"selection: count must be at least 1 or None (all), got {self.count}"
            )
        if self.by not in ("norm", "detector"):
            raise SettingError(f"selection: by is {self.by!r}; use 'norm' or 'detector'")
        if (self.by == "detector") != (self.detector is not None):
            raise SettingError(
                f"selection: by={self.by!r} with detector={self.detector}; a file of detector "
                "weights goes with by='detector', and only with it"
            )
        if self.projected and self.by != "detector":
            raise SettingError("selection: projected features need by='detector'")


def load_detector(path: Path) -> tuple[nn.Module, str]:
    """Return the attention detector and the sha256 of its weights.

    A 1×1 convolution C → C, batch norm, ReLU, a 1×1 convolution C → 1, softplus: the detector
    that AMES (ECCV 2024) and ELViS publish. It maps ``(B, C, h, w)`` to a pair: projected
    features ``(B, C, h, w)`` (behind the batch norm) and weights ``(B, h, w)``, above 0.

    Args:
        path: a state dict with ``conv1.{weight,bias}``, ``conv2.{weight,bias}``,
            ``bn.{weight,bias,running_mean,running_var}``; these names may stand behind
            ``attention.``, ``attn.`` or ``detector.``, among the weights of a larger model.

    Raises:
        EncoderError: no such file, or it holds no such detector.
    """
    state = _own(read_checkpoint(path))
    first = state.get("conv1.weight")
    if first is None or first.ndim != 4 or first.shape[0] != first.shape[1]:
        shape = "absent" if first is None else f"{tuple(first.shape)}"
        raise EncoderError(
            f"{path}: holds no attention detector (conv1.weight is {shape}, needs (C, C, 1, 1)); "
            "its names are conv1.*, bn.*, conv2.*, also behind 'attention.'"
        )
    module = _build(int(first.shape[0]))
    load_strictly(module, state, origin=str(path))
    return module.eval().requires_grad_(False), hash_weights(module.state_dict())


def _own(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in PREFIXES:
        inside = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if "conv1.weight" in inside:
            return inside
    return state


def _build(channels: int) -> nn.Module:
    from torch import nn

    class AttentionDetector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, channels, 1)
            self.bn = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, 1, 1)

        def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            projected = self.bn(self.conv1(maps))
            strength = self.conv2(nn.functional.relu(projected))
            return projected, nn.functional.softplus(strength)[:, 0]

    return AttentionDetector()
