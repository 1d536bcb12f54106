"""From triplets to the batches that a network sees. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from patchrerank.training.losses import Batch, Side
from patchrerank.training.neighbours import Neighbours
from patchrerank.training.pool import Pool
from patchrerank.training.sampling import Counts, epoch_length, split_batches
from patchrerank.training.views import Windows, window
from patchrerank.types import Floats, Rows

PLAN_SEED, VIEW_SEED = 1, 2


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """What one batch holds, before anything is read.

    Attributes:
        triplets: int64 ``(T, 3)`` items of the pool: anchor, positive, negative.
        counts: descriptors of anchors, and of the others, at most.
        side: of the windows.
        seed: of everything else that is random in it.
    """

    triplets: Rows
    counts: tuple[int, int]
    side: float
    seed: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TripletBatches:
    """The batches of a training run; each is a function of seed, epoch and step alone.

    Attributes:
        pool: the items.
        neighbours: anchors and candidates.
        batch_size: pictures a batch, three a triplet.
        counts: how many descriptors are seen.
        windows: which part of gallery pictures is seen.
        seed: equal seeds, equal batches.
        padded: pad to the drawn numbers of descriptors although all pictures have fewer, as
            ELViS, whose scores depend on the padding, is published.
        distilled: hold the largest numbers of descriptors, for a teacher, and only say (``trim``)
            how many the student gets.
    """

    pool: Pool
    neighbours: Neighbours
    batch_size: int = 600
    counts: Counts = field(default_factory=Counts)
    windows: Windows = field(default_factory=Windows)
    seed: int = 0
    padded: bool = False
    distilled: bool = False

    def __len__(self) -> int:
        """Return the number of batches by which schedules are planned."""
        return epoch_length(len(self.neighbours.candidates.anchors), self.batch_size)

    def epoch(self, number: int) -> Sequence[BatchPlan]:
        """Return the plans of one epoch."""
        rng = np.random.default_rng([self.seed, PLAN_SEED, number])
        triplets = self.neighbours.candidates.draw(rng)
        triplets[:, 0] = self.neighbours.items[triplets[:, 0]]
        return [
            BatchPlan(
                part, self.counts.draw(rng), self.windows.draw(rng), (VIEW_SEED, number, place)
            )
            for place, part in enumerate(split_batches(triplets, self.batch_size))
        ]

    def load(self, plan: BatchPlan) -> Batch:
        """Return the descriptors of a plan."""
        rng = np.random.default_rng([self.seed, *plan.seed])
        drawn = (self.counts.query, self.counts.gallery) if self.distilled else plan.counts
        anchors = [self._anchor(int(item), drawn[0]) for item in plan.triplets[:, 0]]
        others = [
            self._other(int(item), drawn[1], plan.side, rng, aimed=column == 1)
            for column in (1, 2)
            for item in plan.triplets[:, column]
        ]
        least = drawn if self.padded else (1, 1)
        known, shown = padded(anchors, least[0]), padded(others, least[1])
        half = len(anchors)
        positives, negatives = (
            Side(shown.vectors[part], shown.mask[part])
            for part in (slice(None, half), slice(half, None))
        )
        return Batch(known, positives, negatives, plan.counts if self.distilled else None)

    def _anchor(self, item: int, count: int) -> Floats:
        return self.pool.vectors(item, count, self.pool.box(item))

    def _other(
        self, item: int, count: int, side: float, rng: np.random.Generator, *, aimed: bool
    ) -> Floats:
        """Return a gallery picture's descriptors; a positive's window shows the object."""
        box = None
        if side < 1:
            box = window(side, self.pool.box(item) if aimed else None, rng).astype(np.float32)
        return self.pool.vectors(item, count, box)


def padded(sets: Sequence[Floats], least: int = 1) -> Side:
    """Return sets ``(n, D)`` as one tensor, padded with zeros to the longest, or to ``least``."""
    longest = max(least, *(len(vectors) for vectors in sets))
    stacked = np.zeros((len(sets), longest, sets[0].shape[1]), dtype=np.float32)
    mask = np.ones((len(sets), longest), dtype=np.bool_)
    for row, vectors in enumerate(sets):
        stacked[row, : len(vectors)] = vectors
        mask[row, : len(vectors)] = False
    return Side(torch.from_numpy(stacked), torch.from_numpy(mask))
