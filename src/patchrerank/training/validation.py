"""How well a network ranks held-out objects. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from patchrerank.errors import SettingError
from patchrerank.fusion import fuse
from patchrerank.metrics import average_precisions, mean_over_queries
from patchrerank.rerankers.networks.projection import PairNetwork
from patchrerank.training.batches import padded
from patchrerank.training.neighbours import Neighbours
from patchrerank.training.pool import Pool
from patchrerank.training.sampling import Flags
from patchrerank.types import EMPTY, Floats, Rows

LAM = 0.5
"""λ by which networks are compared while they are trained, as published."""

GAMMAS = (0.5, 0.2, 0.1, 0.05, 0.02)
"""The best of these is taken; 0.5 is published, and makes nearly 1 of every vote count of ELViS."""


@dataclass(frozen=True, eq=False)
class Validation:
    """Held-out queries, each with its most similar pictures.

    Attributes:
        pool: the items.
        queries: int64 ``(V,)`` items.
        rows: int64 ``(V, K)`` items, best first by global similarity; ``-1`` in empty slots.
        similarities: float32 ``(V, K)``.
        relevant: bool ``(V, K)``.
        n_positives: int64 ``(V,)``, listed or not.
        counts: descriptors of a query and of a gallery picture, at most.
        padded: pad to these numbers, as the reranker ELViS does.
        at_once: pairs scored together.
    """

    pool: Pool
    queries: Rows
    rows: Rows
    similarities: Floats
    relevant: Flags
    n_positives: Rows
    counts: tuple[int, int]
    padded: bool = False
    at_once: int = 64

    @classmethod
    def of(
        cls,
        pool: Pool,
        neighbours: Neighbours,
        objects: Rows,
        size: int,
        counts: tuple[int, int],
        *,
        padded: bool = False,
    ) -> Validation:
        """Return the validation with the anchors of some objects.

        Args:
            pool: the items.
            neighbours: anchors with candidates, nearest first.
            objects: labels.
            size: K.
            counts, padded: see the class.

        Raises:
            SettingError: no anchor shows one of the objects.
        """
        kept = np.flatnonzero(np.isin(pool.labels[neighbours.items], objects))
        found = neighbours.candidates
        known = found.same[kept].sum(axis=1)
        kept = kept[known > 0]
        if not len(kept):
            raise SettingError("nothing to validate on: no anchor shows a held-out object")
        rows = found.rows[kept, :size]
        similarities = np.where(rows == EMPTY, -np.inf, found.similarities[kept, :size])
        return cls(
            pool,
            neighbours.items[kept],
            rows,
            similarities.astype(np.float32),
            found.same[kept, :size],
            found.same[kept].sum(axis=1),
            counts,
            padded,
        )

    def __call__(self, network: PairNetwork) -> dict[str, float]:
        """Return mAP in percent.

        Keys: ``mAP fused`` (the best of ``GAMMAS``), ``mAP local`` (by the network's score
        alone), ``mAP first stage``.
        """
        local = np.stack([self._scores(network, place) for place in range(len(self.queries))])
        fused = (fuse(self.similarities, local, LAM, gamma) for gamma in GAMMAS)
        return {
            "mAP fused": max(self._map(scores) for scores in fused),
            "mAP local": self._map(local),
            "mAP first stage": self._map(self.similarities),
        }

    def _map(self, scores: npt.NDArray[np.floating]) -> float:
        known = np.where(self.rows == EMPTY, -np.inf, scores)
        order = np.argsort(-known, axis=1, kind="stable")
        relevant = np.take_along_axis(self.relevant, order, axis=1)
        return 100 * mean_over_queries(average_precisions(relevant, self.n_positives))

    def _scores(self, network: PairNetwork, place: int) -> Floats:
        """Return one query's scores ``(K,)``."""
        item = int(self.queries[place])
        least = self.counts if self.padded else (1, 1)
        query = padded([self.pool.vectors(item, self.counts[0], self.pool.box(item))], least[0])
        scores = np.full(self.rows.shape[1], -np.inf, dtype=np.float32)
        device = next(network.parameters()).device
        with torch.inference_mode():
            for slots in self._blocks(place):
                sets = [
                    self.pool.vectors(int(row), self.counts[1]) for row in self.rows[place, slots]
                ]
                shown = padded(sets, least[1])
                src, mask = (part.expand(len(sets), *part.shape[1:]) for part in query)
                inputs = (src, shown.vectors, mask, shown.mask)
                found = network(*(part.to(device) for part in inputs))
                scores[slots] = found.float().cpu().numpy()
        return scores

    def _blocks(self, place: int) -> Iterator[Rows]:
        filled = np.flatnonzero(self.rows[place] != EMPTY)
        for start in range(0, len(filled), self.at_once):
            yield filled[start : start + self.at_once]
