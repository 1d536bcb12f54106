"""AMES for one query and many candidates: the same scores with much less arithmetic.

What makes it cheaper than running :class:`AmesNetwork` on each pair:

- In the first layer's self-attention a descriptor reads its own image and the token, which is the
  same for every pair: the query's half is computed once, each candidate's half without the query.
  The token itself reads both images; what it reads of each is combined afterwards.
- Self- and cross-attention run as the two dense blocks that their masks leave open.
- Behind the last self-attention only the token is needed: its cross-attention reads all
  descriptors, and its feed-forward block runs on one position instead of all.
"""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.transformer import (
    CROSS,
    FORWARD,
    SELF,
    Attention,
    Block,
    Layer,
    attend,
    merge_heads,
)


class Side(NamedTuple):
    """One image of each of B pairs behind the first layer's self-attention.

    Attributes:
        x: ``(B, n, D)``, its descriptors.
        mass: ``(B, heads, 1)``, logarithm of the token's unnormalised attention to them.
        read: ``(B, heads, 1, D / heads)``, what the token reads of them.
    """

    x: Tensor
    mass: Tensor
    read: Tensor


class AmesPairs(nn.Module):
    """Scores one query against a batch of candidates.

    Args:
        network: its weights are copied.
        dtype: of the transformer's weights and activations; projections stay as they are.
    """

    def __init__(self, network: AmesNetwork, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.decoder = copy.deepcopy(network.decoder).to(dtype)
        self.classifier = copy.deepcopy(network.classifier).to(dtype)
        self.token = nn.Parameter(network.mtc_token.detach().clone().to(dtype))
        self.dtype = dtype
        self.eval().requires_grad_(False)
        for weight in self.decoder.parameters():
            if weight.ndim == 2:  # laid out as products read it; 4 % faster
                weight.data = weight.t().contiguous().t()

    def side(self, vectors: Tensor, readable: Tensor | None = None) -> Side:
        """Return what does not depend on the other image.

        Args:
            vectors: ``(B, n, D)`` from ``query_side`` or ``gallery_side``.
            readable: bool ``(B, n)``, False in padded slots, at least one True each; None: all.
        """
        layer = self.decoder.stack[0]
        x = vectors.to(self.dtype)
        with_token = torch.cat([self.token.expand(x.shape[0], 1, -1), x], dim=1)
        queries, keys, values = layer.self_attn.project(layer.read(SELF, with_token))
        own = attend(queries[:, :, 1:], keys, values, _for_heads(_behind(1, readable)))
        mass, read = _partial(queries[:, :, :1], keys[:, :, 1:], values[:, :, 1:], readable)
        return Side(layer.add(SELF, x, layer.self_attn.out_proj(own)), mass, read)

    def forward(
        self,
        x: Tensor,
        mass: Tensor,
        read: Tensor,
        vectors: Tensor,
        readable: Tensor | None = None,
    ) -> Tensor:
        """Return the logits ``(B,)``, float32, of B candidates.

        Args:
            x, mass, read: the :meth:`side` of one query, without padding.
            vectors: ``(B, T, D)``, the candidates' descriptors from ``gallery_side``.
            readable: bool ``(B, T)`` as in :meth:`side`.
        """
        first, second = Side(x, mass, read), self.side(vectors, readable)
        before, batch = x.shape[1], vectors.shape[0]
        token = self._first_token(first, second)
        x = torch.cat([x.expand(batch, -1, -1), token, second.x], dim=1)
        readable = _behind(before + 1, readable)
        *inner, last = self.decoder.stack
        for number, layer in enumerate(inner):
            x = _read_by_image(SELF, layer, x, before, readable) if number else x
            x = _read_by_image(CROSS, layer, x, before, readable)
            x = layer.add(FORWARD, x, layer.feed_forward(layer.read(FORWARD, x)))
        x = _read_by_image(SELF, last, x, before, readable) if inner else x
        token = self.decoder.last(_last_token(last, x, before, readable))
        logits: Tensor = self.classifier(token)
        return logits.flatten().float()

    def _first_token(self, first: Side, second: Side) -> Tensor:
        """Return the token ``(B, 1, D)`` behind the first layer's self-attention."""
        layer = self.decoder.stack[0]
        token = self.token.expand(1, 1, -1)
        own = _partial(*layer.self_attn.project(layer.read(SELF, token)), None)
        parts = (own, (first.mass, first.read), (second.mass, second.read))
        batch = second.x.shape[0]
        masses = torch.cat([mass.expand(batch, -1, -1) for mass, _ in parts], dim=2)
        reads = torch.cat([read.expand(batch, -1, -1, -1) for _, read in parts], dim=2)
        mixed = masses.softmax(dim=2).unsqueeze(2) @ reads
        return layer.add(SELF, token, layer.self_attn.out_proj(merge_heads(mixed)))


def _partial(
    queries: Tensor, keys: Tensor, values: Tensor, readable: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Attention to a part of what is read: its mass ``(B, heads, 1)``, and what is read there."""
    logits = queries @ keys.transpose(2, 3) / math.sqrt(keys.shape[3])
    if readable is not None:
        logits = logits.masked_fill(~readable[:, None, None], -torch.inf)
    return logits.logsumexp(dim=3), logits.softmax(dim=3) @ values


def _read_by_image(
    block: Block, layer: Layer, x: Tensor, before: int, readable: Tensor | None
) -> Tensor:
    """Return ``x`` after self- or cross-attention.

    ``x`` ``(B, L, D)`` holds ``before`` descriptors of the query, the token, and the target's, so
    that an image with the token is one slice of it.
    """
    attention = layer.self_attn if block == SELF else layer.cross_attn
    queries, keys, values = attention.project(layer.read(block, x))
    query = (slice(0, before + 1), None)
    target = (slice(before, None), None if readable is None else readable[:, before:])
    seen = (query, target) if block == SELF else (target, query)
    reads = (
        (slice(0, before), *seen[0]),
        (slice(before, before + 1), slice(None), readable),
        (slice(before + 1, None), *seen[1]),
    )
    found = [
        attend(queries[:, :, asking], keys[:, :, part], values[:, :, part], _for_heads(mask))
        for asking, part, mask in reads
    ]
    return layer.add(block, x, attention.out_proj(torch.cat(found, dim=1)))


def _last_token(layer: Layer, x: Tensor, before: int, readable: Tensor | None) -> Tensor:
    """Return the token ``(B, 1, D)`` behind the last layer; nothing else is computed there."""
    seen = layer.read(CROSS, x)
    here = slice(before, before + 1)
    token = layer.add(CROSS, x[:, here], _read_all(layer.cross_attn, seen, here, readable))
    return layer.add(FORWARD, token, layer.feed_forward(layer.read(FORWARD, token)))


def _read_all(attention: Attention, x: Tensor, here: slice, readable: Tensor | None) -> Tensor:
    """Return ``(B, 1, D)``: what one position reads of all.

    The projections to keys and values are moved to the side of the one position (q·(Wx) =
    (qW)·x; a key's bias is the same for all and has no effect), so none is made of ``x``.
    """
    dim = x.shape[2]
    weights = attention.in_proj_weight.view(3, attention.heads, -1, dim)
    biases = attention.in_proj_bias.view(3, attention.heads, 1, -1)
    queries = x[:, None, here] @ weights[0].transpose(1, 2) + biases[0]
    logits = (queries @ weights[1]).squeeze(2) @ x.transpose(1, 2) / math.sqrt(queries.shape[3])
    if readable is not None:
        logits = logits.masked_fill(~readable[:, None], -torch.inf)
    mixed = (logits.softmax(dim=2) @ x).unsqueeze(2)
    read: Tensor = attention.out_proj(merge_heads(mixed @ weights[2].transpose(1, 2) + biases[2]))
    return read


def _behind(count: int, readable: Tensor | None) -> Tensor | None:
    """Return a mask ``(B, count + n)`` whose first positions can be read."""
    if readable is None:
        return None
    return torch.cat([readable.new_ones(readable.shape[0], count), readable], dim=1)


def _for_heads(readable: Tensor | None) -> Tensor | None:
    """Return a mask ``(B, n)`` in the shape that attention takes."""
    return None if readable is None else readable[:, None, None]
