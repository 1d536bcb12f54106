"""ELViS for one query and many candidates: the same scores with much less arithmetic.

The query is projected once. Sinkhorn's iterations are products of a matrix and a vector instead
of logarithms and exponentials of every element, and padded slots enter in closed form instead of
as rows and columns.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from patchrerank.errors import SettingError
from patchrerank.rerankers.networks.elvis_network import ElvisNetwork
from patchrerank.rerankers.networks.sinkhorn import Padded, scale

SAFE_EXPONENT = {torch.float32: 40.0, torch.float64: 300.0}
"""Exponentials up to this are multiplied and summed without leaving the type."""


class ElvisQuery(NamedTuple):
    """What of a query does not depend on the candidate.

    Attributes:
        vectors: ``(m, D)``, unit vectors.
        bins: ``(m,)``, exp of their scores for the dust bin.
        slots: ``(1,)``, members with padding; at least m.
    """

    vectors: Tensor
    bins: Tensor
    slots: Tensor


class ElvisPairs(nn.Module):
    """Scores one query against a batch of candidates.

    Args:
        network: its weights are copied.
        dtype: of the descriptors while their cosines are computed; the rest is float32, or
            float64 where the network's temperature and dust bin need it.

    Raises:
        SettingError: a temperature beyond what float64 bears.
    """

    def __init__(self, network: ElvisNetwork, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.dtype = dtype
        config = network.config
        self.temperature, self.iterations = config.temperature, config.iterations
        self.wide = _wide_enough(self.temperature * max(1.0, abs(float(network.dust_bin.detach()))))
        nothing = torch.zeros(1, config.local_dim, device=network.dust_bin.device)
        with torch.no_grad():
            self.empty_bin = self._bins(self.network.gallery_side(nothing))[0]
            self.corner = (self.temperature * self.network.dust_bin.to(self.wide)).exp()

    def side(self, vectors: Tensor, slots: int) -> ElvisQuery:
        """Return what does not depend on the candidate, of ``(m, D)`` from ``query_side``."""
        members = vectors.new_full((1,), max(slots, len(vectors)), dtype=self.wide)
        return ElvisQuery(vectors, self._bins(vectors), members)

    def forward(
        self,
        own: Tensor,
        bins: Tensor,
        own_slots: Tensor,
        vectors: Tensor,
        valid: Tensor,
        slots: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return scores ``(B,)`` and the votes ``(B, n)`` of the candidates' descriptors.

        Args:
            own, bins, own_slots: the :meth:`side` of one query.
            vectors: ``(B, n, D)``, the candidates' descriptors from ``gallery_side``.
            valid: float ``(B, n)``, 1 where there is one, else 0.
            slots: float ``(B,)``, members with padding; at least as many as are valid.
        """
        weights, by_row, by_column = self._plan(
            ElvisQuery(own, bins, own_slots), vectors, valid, slots
        )
        best_rows = by_row * (weights * by_column.unsqueeze(1)).amax(dim=2)
        best_columns = by_column * (weights * by_row.unsqueeze(2)).amax(dim=1)
        votes = self.votes_of(best_columns) * valid
        return self.votes_of(best_rows).sum(dim=1) + votes.sum(dim=1), votes

    def shares(self, query: Sequence[Tensor], vectors: Tensor, slots: float) -> Tensor:
        """Return ``(m, n)``: which share of their mass each two descriptors exchange.

        Args:
            query: from :meth:`side`.
            vectors: ``(n, D)``, one candidate's descriptors from ``gallery_side``.
            slots: its members with padding.
        """
        valid = vectors.new_ones(1, len(vectors))
        weights, by_row, by_column = self._plan(
            ElvisQuery(*query),
            vectors.unsqueeze(0),
            valid,
            torch.tensor([slots], device=vectors.device),
        )
        return (by_row.unsqueeze(2) * weights * by_column.unsqueeze(1))[0]

    def votes_of(self, best: Tensor) -> Tensor:
        """Return the votes in [0, 1] of best matches' shares ``(…)``."""
        return self.network.vote_logits(best.float()).sigmoid()

    def _plan(
        self, query: ElvisQuery, vectors: Tensor, valid: Tensor, slots: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights ``(B, m, n)`` and the factors that make them the transport plan."""
        own, row_bins, rows = query
        cosines = own.to(self.dtype) @ vectors.to(self.dtype).transpose(1, 2)
        weights = (self.temperature * cosines.to(self.wide)).exp()
        padded = Padded(rows, slots.to(self.wide), self.empty_bin)
        bins = self._bins(vectors)
        args = (weights, row_bins, bins, self.corner, valid.to(self.wide), padded)
        return weights, *scale(*args, self.iterations)

    def _bins(self, vectors: Tensor) -> Tensor:
        return (self.temperature * self.network.dust(vectors).to(self.wide)).exp()


def _wide_enough(exponent: float) -> torch.dtype:
    """Return the narrowest type in which exponentials of that size may be used."""
    for dtype, limit in SAFE_EXPONENT.items():
        if exponent <= limit:
            return dtype
    raise SettingError(
        f"ELViS: temperature × dust bin is {exponent:g}, at most {limit:g} can be computed; is the "
        "temperature that of the checkpoint's configuration?"
    )
