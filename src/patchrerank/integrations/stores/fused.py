"""Stores that fuse global and patch scores themselves, in one round trip."""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

import numpy as np

from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery
from patchrerank.integrations.stores.points import STEEPEST
from patchrerank.integrations.stores.space import unit_queries
from patchrerank.integrations.stores.store import VectorStore
from patchrerank.rerankers import Patchify
from patchrerank.types import EMPTY, Floats, Queries, Ranking, Rows, Shortlist


class FusesThere(VectorStore):
    """A store with formulas over the scores of searches."""

    @abstractmethod
    def _fused(self, vector: Floats, size: int, fusion: Fusion) -> list[tuple[str, float]]:
        """Return the ``size`` nearest images to a unit vector with their fused scores."""

    def search_fused(self, queries: Queries, size: int, fusion: Fusion, top_k: int = 10) -> Ranking:
        """Search, rescore and fuse in one round trip; vectors of the best alone are fetched.

        Args:
            queries: at unit norm.
            size: candidates by global vectors, all of which are rescored
                (``fusion.shortlist_size`` does not count).
            fusion: λ and γ; γ up to 700.
            top_k: how many are returned, with component scores and boxes, which a second round
                trip fetches.

        Returns:
            The ranking ``(Q, top_k)``, in rows of :attr:`gallery`; the order is the store's.

        Raises:
            QueryError: the queries do not live in the store's space, or have no direction.
            SettingError: γ is too large.
        """
        self.gallery.check_queries(queries)
        vectors = unit_queries(queries.vectors)
        found = [self._fused(vector, size, fusion)[:top_k] for vector in vectors]
        width = max(map(len, found), default=0)
        rows = np.full((len(found), width), EMPTY, dtype=np.int64)
        scores = np.full(rows.shape, -np.inf, dtype=np.float32)
        for query, hits in enumerate(found):
            rows[query, : len(hits)] = self.gallery.rows_met([key for key, _ in hits])
            scores[query, : len(hits)] = [score for _, score in hits]
        return self._described(queries, rows, scores, f"{self.name}: {fusion.record}")

    def _described(
        self,
        queries: Queries,
        rows: Rows,
        scores: Floats,
        how: str,
    ) -> Ranking:
        """Fetch what was found, and add component scores and boxes."""
        filled = rows != EMPTY
        wanted, places = np.unique(rows[filled], return_inverse=True)
        evidence = self.evidence([self.gallery.keys[row] for row in wanted.tolist()])
        local = np.full(rows.shape, EMPTY, dtype=np.int64)
        local[filled] = places
        patches = Patchify(cast(Gallery, evidence)).score(queries, Shortlist.trusted(local, scores))
        firsts = np.full(rows.shape, -np.inf, dtype=np.float32)
        queried = np.nonzero(filled)[0]
        products = evidence.global_vectors[places] * queries.vectors[queried]
        firsts[filled] = products.sum(axis=1)
        boxes = patches.boxes
        assert boxes is not None
        return Ranking(rows, scores, firsts, patches.scores, boxes, queries.crops, (how,))

    @staticmethod
    def _defaults(fusion: Fusion) -> dict[str, float]:
        """Return what counts where an image has no patches: σ = 0, as near as numbers go."""
        lowest = -STEEPEST / fusion.gamma if fusion.gamma > 0 else 0.0
        return {"$score[1]": lowest}
