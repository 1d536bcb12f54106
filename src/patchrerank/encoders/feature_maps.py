"""Torch modules around other people's networks, so that each returns its last feature map.

A *map* is ``(B, D, h, w)``: one D-dimensional descriptor for each cell of an h × w grid.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from patchrerank.encoders.network import Network
from patchrerank.encoders.towers import FirstOutput, LibraryNetwork, PooledMap
from patchrerank.errors import EncoderError

Size = tuple[int, int]
EFFICIENTNET_STRIDE = 32
RESNET_STRIDE = 32
OTHERS = "its vectors can be used, but local descriptors and one pass need another network"


class MapNetwork(nn.Module):
    """A network that takes images of any size that its ``stride`` divides; the base of all here.

    Attributes:
        network: the wrapped network, at its own image size.
        stride: height and width of a cell in pixels.
    """

    def __init__(self, network: nn.Module, stride: Size) -> None:
        super().__init__()
        self.network = network
        self.stride = stride

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the map ``(B, D, h, w)`` for normalised ``(B, 3, H, W)``."""
        result: torch.Tensor = self.network(pixels)
        return result

    def at_size(self, size: Size) -> MapNetwork:
        """Return the network for images of ``size`` (height, width): itself, or a changed copy."""
        return self


class ExtractedMap(MapNetwork):
    """An EfficientNet: the map in front of its pooling."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the map."""
        return cast(LibraryNetwork, self.network).extract_features(pixels)


class TimmMap(MapNetwork):
    """A timm model's ``forward_features``; class, register and other prefix tokens are dropped."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the map."""
        features: Any = cast(LibraryNetwork, self.network).forward_features(pixels)
        if not isinstance(features, torch.Tensor):
            raise EncoderError(
                f"{type(self.network).__name__} returns its features as {len(features)} parts, no "
                f"single map; {OTHERS}"
            )
        if features.ndim == 3:
            prefix = _prefix_tokens(self.network, features, pixels, self.stride)
            return _tokens_to_map(features[:, prefix:], pixels, self.stride)
        if str(getattr(self.network, "output_fmt", "NCHW")) == "NHWC":
            return features.permute(0, 3, 1, 2)
        return features

    def at_size(self, size: Size) -> MapNetwork:
        """Return itself, or a copy whose position embedding is resampled (transformers)."""
        if not hasattr(self.network, "set_input_size"):
            return self
        resized = copy.deepcopy(self)
        try:
            cast(LibraryNetwork, resized.network).set_input_size(img_size=size)
        except Exception as error:
            raise EncoderError(
                f"the network refuses images of {size[0]} × {size[1]} pixels: {error}"
            ) from error
        return resized


class ClipVitMap(MapNetwork):
    """An OpenCLIP transformer: its patch tokens as they are pooled (normalised if before that)."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the map."""
        found = cast(LibraryNetwork, self.network).forward_intermediates(
            pixels,
            indices=1,
            normalize_intermediates=_norm_comes_first(self.network),
            intermediates_only=True,
        )
        return found["image_intermediates"][-1]

    def at_size(self, size: Size) -> MapNetwork:
        """Return a copy whose position embedding is resampled (bicubic, antialiased)."""
        grid = (size[0] // self.stride[0], size[1] // self.stride[1])
        network: Any = self.network
        if tuple(network.grid_size) == grid:
            return self
        resized = copy.deepcopy(self)
        target: Any = resized.network
        embedding = network.positional_embedding.detach()
        old = embedding[1:].T.reshape(1, -1, *network.grid_size)
        new = F.interpolate(old, size=grid, mode="bicubic", antialias=True, align_corners=False)
        joined = torch.cat([embedding[:1], new.flatten(2)[0].T])
        target.positional_embedding = nn.Parameter(joined, requires_grad=False)
        target.grid_size, target.image_size = grid, size
        return resized


class ClipResNetMap(MapNetwork):
    """An OpenCLIP ResNet: the trunk's map in front of its attention pooling."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the map."""
        network: Any = self.network
        result: torch.Tensor = network.layer4(
            network.layer3(network.layer2(network.layer1(network.stem(pixels))))
        )
        return result


class FlatMap(nn.Module):
    """A map network whose map comes as one vector, cell by cell, so that every back end runs it."""

    def __init__(self, network: MapNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return ``(B, h · w · D)`` for normalised ``(B, 3, H, W)``."""
        found: torch.Tensor = self.network(pixels)
        return found.permute(0, 2, 3, 1).flatten(1)


def open_map_network(network: Network, stride: int = 1) -> MapNetwork:
    """Return the map network of a loaded network; ``stride`` counts for a module only.

    Raises:
        EncoderError: a kind of network whose feature map cannot be reached.
    """
    module: Any = network.module
    kind = network.architecture.partition(":")[0]
    if kind == "module":
        return MapNetwork(module, (stride, stride))
    if isinstance(module, PooledMap):
        return ExtractedMap(module.network, (EFFICIENTNET_STRIDE,) * 2)
    if kind == "timm":
        return TimmMap(module, _timm_stride(module))
    tower: Any = module.network if isinstance(module, FirstOutput) else module
    if hasattr(tower, "trunk"):
        return TimmMap(tower.trunk, _timm_stride(tower.trunk))
    if hasattr(tower, "positional_embedding") and hasattr(tower, "forward_intermediates"):
        return ClipVitMap(tower, (int(tower.patch_size[0]), int(tower.patch_size[1])))
    if hasattr(tower, "layer4"):
        return ClipResNetMap(tower, (RESNET_STRIDE,) * 2)
    raise EncoderError(
        f"{network.architecture}: no way to its feature map ({type(tower).__name__}); pass a torch "
        "module that returns (B, D, h, w)"
    )


def _timm_stride(model: Any) -> Size:
    """Return the pixels a cell of the last map covers, from the model's own description."""
    described = getattr(model, "feature_info", None)
    if described:
        return (int(described[-1]["reduction"]),) * 2
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", (1, 1))
    return int(patch[0]), int(patch[1])


def _prefix_tokens(network: Any, tokens: torch.Tensor, pixels: torch.Tensor, stride: Size) -> int:
    """Return how many tokens stand before those of patches; VOLO does not say that it has one."""
    cells = pixels.shape[2] // stride[0] * (pixels.shape[3] // stride[1])
    unsaid = hasattr(network, "cls_token") and tokens.shape[1] == cells + 1
    return int(getattr(network, "num_prefix_tokens", int(unsaid)))


def _norm_comes_first(tower: Any) -> bool:
    """Return whether the tower normalises its tokens before it pools them."""
    if tower.attn_pool is not None:
        return getattr(tower, "attn_pool_contrastive", None) is not None
    return not tower.final_ln_after_pool


def _tokens_to_map(tokens: torch.Tensor, pixels: torch.Tensor, stride: Size) -> torch.Tensor:
    height, width = pixels.shape[2] // stride[0], pixels.shape[3] // stride[1]
    if tokens.shape[1] != height * width:
        raise EncoderError(
            f"the network returned {tokens.shape[1]} tokens for a grid of {height} × {width} cells "
            f"of {stride[0]} × {stride[1]} pixels, so they are no map; {OTHERS}"
        )
    return tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)
