"""Transformer layers over two sets of descriptors and a token between them; see ``AmesNetwork``."""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrerank.rerankers.networks.configs import AmesConfig

Block = Literal[0, 1, 2]
"""A block of a layer; each has a layer norm."""

SELF: Final = 0
CROSS: Final = 1
FORWARD: Final = 2


class Attention(nn.Module):
    """Multi-head attention with one fused input projection and no dropout.

    Attributes:
        in_proj_weight: float32 ``(3 D, D)``: rows for queries, keys, values.
        in_proj_bias: float32 ``(3 D,)``.
        out_proj: D → D.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, ``(B, heads, n, D / heads)`` each, of ``(B, n, D)``."""
        projected = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        queries, keys, values = (self.split(part) for part in projected.chunk(3, dim=-1))
        return queries, keys, values

    def split(self, x: Tensor) -> Tensor:
        """Return ``(B, heads, n, D / heads)`` of ``(B, n, D)``, without a copy."""
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, readable: Tensor) -> Tensor:
        """Return ``(B, n, D)``; position i of ``x`` reads j where ``readable[..., i, j]``."""
        read: Tensor = self.out_proj(attend(*self.project(x), readable))
        return read


def attend(queries: Tensor, keys: Tensor, values: Tensor, readable: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention of ``(B, heads, n, d)``; returns ``(B, n, heads · d)``."""
    return merge_heads(
        functional.scaled_dot_product_attention(queries, keys, values, attn_mask=readable)
    )


def merge_heads(read: Tensor) -> Tensor:
    """Return ``(B, n, heads · d)`` of ``(B, heads, n, d)``."""
    return read.transpose(1, 2).flatten(2)


class Layer(nn.Module):
    """Self-attention, cross-attention and feed-forward, each with a residual and a layer norm."""

    def __init__(self, config: AmesConfig) -> None:
        super().__init__()
        dim, width = config.model_dim, config.feedforward_dim
        self.self_attn = Attention(dim, config.heads)
        self.cross_attn = Attention(dim, config.heads)
        self.linear1 = nn.Linear(dim, width)
        self.linear2 = nn.Linear(width, dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.prenorm, self.gelu = config.prenorm, config.activation == "gelu"

    def read(self, block: Block, x: Tensor) -> Tensor:
        """Return what a block works on."""
        return self._norm(block, x) if self.prenorm else x

    def add(self, block: Block, x: Tensor, update: Tensor) -> Tensor:
        """Return ``x`` after a block whose output is ``update``."""
        return x + update if self.prenorm else self._norm(block, x + update)

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return the third block's output ``(…, D)``."""
        hidden = self.linear1(x)
        if self.gelu:
            hidden = functional.gelu(hidden)
        else:
            hidden = functional.relu(hidden, inplace=not torch.is_grad_enabled())
        out: Tensor = self.linear2(hidden)
        return out

    def forward(self, x: Tensor, same: Tensor, other: Tensor) -> Tensor:
        """Return ``(B, L, D)``; the masks say who reads whom in self- and cross-attention."""
        x = self.add(SELF, x, self.self_attn(self.read(SELF, x), same))
        x = self.add(CROSS, x, self.cross_attn(self.read(CROSS, x), other))
        return self.add(FORWARD, x, self.feed_forward(self.read(FORWARD, x)))

    def _norm(self, block: Block, x: Tensor) -> Tensor:
        normed: Tensor = (self.norm1, self.norm2, self.norm3)[block](x)
        return normed


class Decoder(nn.Module):
    """The layers, and a last layer norm where norms stand in front of the blocks."""

    def __init__(self, config: AmesConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.model_dim) if config.prenorm else None

    @property
    def stack(self) -> list[Layer]:
        """The layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def last(self, x: Tensor) -> Tensor:
        """Return ``x`` as it leaves the last layer."""
        if self.norm is None:
            return x
        normed: Tensor = self.norm(x)
        return normed
