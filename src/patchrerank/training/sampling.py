"""Which triplets a network is trained on: an anchor, a picture of its object, and another one.

Source: the sampling of AMES (ECCV 2024) and ELViS (ICLR 2026).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.types import EMPTY, Floats, Rows

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

POWER = 3
"""A candidate is drawn with a probability proportional to this power of its similarity."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The nearest neighbours of N anchors.

    Attributes:
        rows: int64 ``(N, K)``, which pictures, best first; ``-1`` in empty slots.
        similarities: float32 ``(N, K)``.
        same: bool ``(N, K)``: the picture shows the anchor's object.
        least: an anchor is used if it has so many candidates of its object, and so many others,
            whose similarity is above 0.

    Raises:
        SettingError: the shapes differ, ``least`` is below 1, or no anchor can be used.
    """

    rows: Rows
    similarities: Floats
    same: Flags
    least: int = 5

    def __post_init__(self) -> None:
        shapes = {np.shape(self.rows), np.shape(self.similarities), np.shape(self.same)}
        if len(shapes) != 1 or self.rows.ndim != 2:
            raise SettingError(f"candidates need one shape (N, K), got {sorted(shapes)}")
        if self.least < 1:
            raise SettingError(f"least must be at least 1, got {self.least}")
        if not len(self.anchors):
            raise SettingError(
                f"no anchor has {self.least} candidates of its object and {self.least} others "
                "with a similarity above 0; ask for fewer, for more neighbours, or use more "
                "pictures"
            )

    @cached_property
    def anchors(self) -> Rows:
        """int64: the anchors that can be used, ascending."""
        positive = self._usable & self.same
        negative = self._usable & ~self.same
        enough = (positive.sum(axis=1) >= self.least) & (negative.sum(axis=1) >= self.least)
        return np.flatnonzero(enough)

    @property
    def _usable(self) -> Flags:
        return np.asarray((self.similarities > 0) & (self.rows != EMPTY))

    def probabilities(self, *, positive: bool) -> Doubles:
        """Return float64 ``(N, K)``: how likely each candidate is drawn for its anchor.

        Rows sum to 1; rows of anchors without such candidates are 0.
        """
        chosen = self._usable & (self.same == positive)
        shares = np.where(chosen, self.similarities.astype(np.float64), 0.0) ** POWER
        total = shares.sum(axis=1, keepdims=True)
        found: Doubles = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
        return found

    @cached_property
    def _cumulated(self) -> tuple[Doubles, Doubles]:
        """The probabilities of positives and negatives of the usable anchors, added up."""
        found = [self.probabilities(positive=kind)[self.anchors] for kind in (True, False)]
        return found[0].cumsum(axis=1), found[1].cumsum(axis=1)

    def draw(self, rng: np.random.Generator) -> Rows:
        """Return one epoch's triplets, int64 ``(A, 3)``: anchor, positive's row, negative's row.

        Each usable anchor stands there once, in random order.
        """
        order = rng.permutation(len(self.anchors))
        drawn = [self.anchors[order]]
        for cumulated in self._cumulated:
            sums = cumulated[order]
            points = rng.random(len(order)) * sums[:, -1]
            places = np.minimum((sums <= points[:, None]).sum(axis=1), sums.shape[1] - 1)
            drawn.append(self.rows[drawn[0], places])
        return np.stack(drawn, axis=1)


def epoch_length(anchors: int, batch_size: int) -> int:
    """Return the number of batches by which schedules are planned: ⌈3 · anchors / batch_size⌉."""
    return -(-3 * anchors // batch_size)


def split_batches(triplets: Rows, batch_size: int) -> Iterator[Rows]:
    """Yield batches ``(T, 3)`` of an epoch.

    Pictures are added by threes; a batch is closed as soon as it holds ``batch_size``, so a size
    that 3 does not divide is overshot. The last batch may be short.
    """
    step = -(-batch_size // 3)
    for start in range(0, len(triplets), step):
        yield triplets[start : start + step]


@dataclass(frozen=True)
class Counts:
    """How many descriptors of a picture a batch holds; of each picture the strongest.

    For every batch one number for anchors and one for all others is drawn, evenly from
    ``least`` up to below ``query`` and ``gallery``; so one network serves all numbers. A bound
    that is not above ``least`` is the number itself.

    Attributes:
        least: at least 1.
        query: upper bound for anchors, excluded.
        gallery: upper bound for positives and negatives, excluded.

    Raises:
        SettingError: a number below 1.
    """

    least: int = 10
    query: int = 400
    gallery: int = 400

    def __post_init__(self) -> None:
        if min(self.least, self.query, self.gallery) < 1:
            raise SettingError(f"numbers of descriptors must be at least 1, got {self}")

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Return the numbers of a batch, of the anchors' drawn first."""
        query, gallery = (
            int(rng.integers(self.least, bound)) if bound > self.least else bound
            for bound in (self.query, self.gallery)
        )
        return query, gallery

    @property
    def most(self) -> tuple[int, int]:
        """The largest numbers that are drawn."""
        query, gallery = (
            bound - 1 if bound > self.least else bound for bound in (self.query, self.gallery)
        )
        return query, gallery
