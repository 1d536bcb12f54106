"""Optimal transport between two sets with a dust bin each, by Sinkhorn's iterations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def log_marginals(count: int, other: int, like: Tensor) -> Tensor:
    """Return the logarithms ``(count + 1,)`` of the masses of a set's members and its bin.

    Each of ``count`` members has the mass 1 / (count + other), the bin that of the other set.
    """
    masses = torch.ones(count + 1, device=like.device)
    masses[count] = other
    return (masses.log() - torch.tensor(float(count + other)).log()).to(like.dtype)


def log_transport(scores: Tensor, iterations: int) -> Tensor:
    """Return the logarithm of the transport plan, all in the logarithmic domain.

    Args:
        scores: ``(B, m + 1, n + 1)``, the last row and column being the bins; −inf where nothing
            may go, but for the bins.
        iterations: each updates the rows, then the columns.

    Returns:
        ``(B, m + 1, n + 1)``: log P + log(m + n), so that a member's mass is 1.
    """
    rows, columns = scores.shape[1] - 1, scores.shape[2] - 1
    to_rows, to_columns = log_marginals(rows, columns, scores), log_marginals(columns, rows, scores)
    u, v = torch.zeros_like(scores[:, :, 0]), torch.zeros_like(scores[:, 0])
    for _ in range(iterations):
        u = to_rows - (scores + v.unsqueeze(1)).logsumexp(dim=2)
        v = to_columns - (scores + u.unsqueeze(2)).logsumexp(dim=1)
    total = torch.tensor(float(rows + columns)).log().to(scores.dtype)
    return scores + u.unsqueeze(2) + v.unsqueeze(1) + total


class Padded(NamedTuple):
    """How long the sets are once their padding is counted.

    Attributes:
        rows: float ``(1,)``, members of the first set, padded ones included.
        columns: float ``(B,)``, members of the second sets, likewise.
        bin_weight: float ``()``, exp of a padded column's score for the bin.
    """

    rows: Tensor
    columns: Tensor
    bin_weight: Tensor


def scale(
    weights: Tensor,
    row_bins: Tensor,
    column_bins: Tensor,
    corner: Tensor,
    valid: Tensor,
    padded: Padded,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    """Sinkhorn's iterations by products instead of logarithms, padded members in closed form.

    A padded member only touches the other set's bin: as a row it adds a constant to what the
    bin's column holds, as a column to the bin's row, each as often as it is there. So sets are
    as long as their descriptors are many, with the result of much longer ones.

    Args:
        weights: ``(B, m, n)``, exp of the scores; ``n`` is the longest second set's length.
        row_bins: ``(m,)``, exp of the rows' scores for the bin.
        column_bins: ``(B, n)``, exp of the columns' scores for the bin.
        corner: ``()``, exp of the bins' score for each other.
        valid: ``(B, n)``, 1 where the second set has a member, else 0.
        padded: lengths with padding; none shorter than the set.
        iterations: each updates the rows, then the columns.

    Returns:
        Factors ``(B, m)`` and ``(B, n)`` such that ``rows · weights · columns`` is the transport
        plan in which a member's mass is 1; 0 where ``valid`` is 0.
    """
    total = padded.rows + padded.columns
    mass, extra_rows = 1 / total, padded.rows - weights.shape[1]
    extra_columns = padded.columns - valid.sum(dim=1)
    columns, bin_column, extra = valid, torch.ones_like(mass), padded.bin_weight.expand_as(mass)
    rows = valid
    for _ in range(iterations):
        reached = (weights @ columns.unsqueeze(2)).squeeze(2)
        rows = mass.unsqueeze(1) / (reached + row_bins * bin_column.unsqueeze(1))
        binned = (column_bins * columns).sum(dim=1) + extra_columns * extra + corner * bin_column
        bin_row = padded.columns * mass / binned
        reached = (rows.unsqueeze(1) @ weights).squeeze(1)
        binned = rows @ row_bins + extra_rows * mass / bin_column + corner * bin_row
        columns = valid * mass.unsqueeze(1) / (reached + column_bins * bin_row.unsqueeze(1))
        bin_column = padded.rows * mass / binned
        extra = mass / bin_row
    return rows, columns * total.unsqueeze(1)
