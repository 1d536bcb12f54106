"""What training minimises: binary cross-entropy of pairs, and distillation from a teacher.

Source: the training of AMES (ECCV 2024) and ELViS (ICLR 2026). Imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from patchrerank.errors import SettingError
from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.projection import PairNetwork


class Side(NamedTuple):
    """The descriptors of B pictures.

    Attributes:
        vectors: float32 ``(B, n, D0)``, strongest first.
        mask: bool ``(B, n)``, True in padded slots.
    """

    vectors: Tensor
    mask: Tensor

    def first(self, count: int) -> Side:
        """Return the first descriptors alone."""
        return Side(self.vectors[:, :count], self.mask[:, :count])


class Batch(NamedTuple):
    """B triplets; positives and negatives are padded to the same length.

    Attributes:
        anchors, positives, negatives: their descriptors.
        trim: with a teacher, how many descriptors the student gets of anchors and of the others.
    """

    anchors: Side
    positives: Side
    negatives: Side
    trim: tuple[int, int] | None = None

    def pairs(self) -> tuple[Side, Side]:
        """Return 2B pairs: anchors with positives, then anchors with negatives."""
        src = Side(*(torch.cat([part, part]) for part in self.anchors))
        others = zip(self.positives, self.negatives, strict=True)
        return src, Side(*(torch.cat(both) for both in others))

    def part(self, start: int, end: int) -> Batch:
        """Return the triplets from ``start`` to below ``end``."""
        return self.each(lambda tensor: tensor[start:end])

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with every tensor changed."""
        anchors, positives, negatives = (
            Side(change(side.vectors), change(side.mask))
            for side in (self.anchors, self.positives, self.negatives)
        )
        return Batch(anchors, positives, negatives, self.trim)

    def __len__(self) -> int:
        return int(self.anchors.vectors.shape[0])


@dataclass(frozen=True)
class Teacher:
    """A full-precision network whose output vectors a student imitates.

    Attributes:
        network: AMES, in evaluation mode; ELViS has no output a descriptor.
        beta: weight of the imitation.
    """

    network: AmesNetwork
    beta: float = 10.0

    def __post_init__(self) -> None:
        if not isinstance(self.network, AmesNetwork):
            raise SettingError(
                "a teacher must be AMES: ELViS has no output vector for each descriptor"
            )
        if self.network.binarized:
            raise SettingError("a teacher must be a full-precision network, not a binarised one")


class Losses(NamedTuple):
    """The parts of a loss; ``total`` carries the gradient."""

    total: Tensor
    bce: Tensor
    mse: Tensor | None = None

    def detached(self) -> Losses:
        """Return the values alone, without what the gradient needs."""
        mse = None if self.mse is None else self.mse.detach()
        return Losses(self.total.detach(), self.bce.detach(), mse)


def pair_losses(network: PairNetwork, batch: Batch, teacher: Teacher | None = None) -> Losses:
    """Return the loss of a batch.

    Mean binary cross-entropy with logits over anchor–positive (1) and anchor–negative (0) pairs.
    With a teacher, plus β times the mean squared difference between the output vectors of the
    student and those that the teacher, seeing all descriptors, gives at the same positions: the
    token, and the descriptors that the student sees.
    """
    src, tgt = batch.pairs()
    if teacher is None:
        return _of_logits(network(src.vectors, tgt.vectors, src.mask, tgt.mask))
    if not isinstance(network, AmesNetwork):
        raise SettingError("only AMES can be a student: ELViS has no output for each descriptor")
    widths = (src.mask.shape[1], tgt.mask.shape[1])
    count, other = (min(pair) for pair in zip(batch.trim or widths, widths, strict=True))
    with torch.no_grad():
        known = teacher.network.tokens(src.vectors, tgt.vectors, src.mask, tgt.mask)
    behind = 1 + widths[0]
    wanted = torch.cat([known[:, : 1 + count], known[:, behind : behind + other]], dim=1)
    src, tgt = src.first(count), tgt.first(other)
    tokens = network.tokens(src.vectors, tgt.vectors, src.mask, tgt.mask)
    bce = _of_logits(network.head(tokens)).bce
    mse = functional.mse_loss(tokens, wanted)
    return Losses(bce + teacher.beta * mse, bce, mse)


def _of_logits(logits: Tensor) -> Losses:
    labels = torch.zeros_like(logits)
    labels[: len(logits) // 2] = 1
    loss = functional.binary_cross_entropy_with_logits(logits, labels)
    return Losses(loss, loss)
