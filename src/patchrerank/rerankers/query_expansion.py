"""Query expansion: search again with the query and what it found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError, check_kind
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery
from patchrerank.rerankers.base import Reranker
from patchrerank.rerankers.linear_adaptation import LinearAdaptation
from patchrerank.types import Floats, LocalScores, Queries, QueryCrop, Shortlist

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder


@dataclass(frozen=True)
class ExpansionSettings:
    """How many neighbours join the query, and how they are weighed.

    Attributes:
        neighbours: n, the first n candidates of the shortlist; 0 leaves the query as it is.
        alpha: α ≥ 0, the exponent of a neighbour's similarity; 0 is plain average expansion.
        negative: let negative similarities count as they are; otherwise they count 0. Only with
            α = 1, since other powers of them make no sense.
    """

    neighbours: int = 3
    alpha: float = 3.0
    negative: bool = False

    def __post_init__(self) -> None:
        if self.neighbours < 0:
            raise SettingError(f"neighbours must be at least 0, got {self.neighbours}")
        if not 0.0 <= self.alpha < float("inf"):
            raise SettingError(f"alpha must be finite and at least 0, got {self.alpha}")
        if self.negative and self.alpha != 1.0:
            raise SettingError(f"negative=True needs alpha=1, got {self.alpha}")

    @classmethod
    def ilias(cls, neighbours: int) -> ExpansionSettings:
        """Return the expansion of ILIAS' search program: similarities are weights as they are."""
        return cls(neighbours=neighbours, alpha=1.0, negative=True)


class QueryExpansion(Reranker):
    """Scores candidates by the expanded query; :meth:`expand` serves a second search.

    Source: α-QE (Radenović et al., "Fine-tuning CNN Image Retrieval with No Human Annotation",
    TPAMI 2018). Weights are the inner products of the query with the gallery's global vectors,
    whatever the shortlist's scores are; its order says which candidates are neighbours. It does
    not localise.

    Args:
        gallery: its global vectors are used.
        encoder: encodes query pictures; not needed for ready vectors.
        fusion: default λ = 0 on the whole shortlist: the expanded query's score alone.
        query_crop: what is done with a query's box before it is encoded.
        settings: neighbours and weights.
    """

    name = "query-expansion"
    reads = frozenset({"globals"})

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder | None = None,
        fusion: Fusion | None = None,
        query_crop: QueryCrop = "none",
        settings: ExpansionSettings | None = None,
    ) -> None:
        super().__init__(gallery, encoder, fusion, query_crop)
        check_kind("settings", settings, ExpansionSettings, "ExpansionSettings(…)")
        self.settings = settings if settings is not None else ExpansionSettings()
        self.list_depth = self.settings.neighbours

    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Return the inner product of each candidate with the expanded query."""
        expanded = self.expand(queries, shortlist)
        scores = np.full(shortlist.rows.shape, -np.inf, dtype=np.float32)
        for number, rows in enumerate(shortlist.rows):
            full = rows >= 0
            vectors = np.asarray(self.gallery.global_vectors[rows[full]], dtype=np.float32)
            scores[number, full] = vectors @ expanded.vectors[number]
        return LocalScores(scores)

    def expand(self, queries: Queries, shortlist: Shortlist) -> Queries:
        """Return the expanded queries, to search the whole gallery again with.

        A query without candidates only becomes unit length. Boxes, pictures and local
        descriptors are handed on.

        Raises:
            QueryError: the queries do not live in the gallery's space.
        """
        self.gallery.check_queries(queries)
        vectors = np.empty_like(queries.vectors)
        for number, query in enumerate(queries.vectors):
            rows = shortlist.rows[number, : self.settings.neighbours]
            near = np.asarray(self.gallery.global_vectors[rows[rows >= 0]], dtype=np.float32)
            weights = neighbour_weights(near @ query, self.settings)
            vectors[number] = expand_query(query, near, weights)
        return replace(queries, vectors=vectors)


def neighbour_weights(similarities: npt.ArrayLike, settings: ExpansionSettings) -> Floats:
    """Return sim^α, float32, of the same shape; see :class:`ExpansionSettings`."""
    values = np.asarray(similarities, dtype=np.float32)
    if settings.negative:
        return values
    return np.asarray(values.clip(0.0) ** np.float32(settings.alpha))


def expand_query(
    query: npt.ArrayLike,
    neighbours: npt.ArrayLike,
    weights: npt.ArrayLike,
    adaptation: LinearAdaptation | None = None,
) -> Floats:
    """Return the mean of q and w_i·x_i, divided by its norm, float32 ``(d,)``.

    Args:
        query: ``(d,)``; adapted already, if there is an adaptation.
        neighbours: ``(n, d)``, or ``(n, D)`` as they were before the adaptation; n may be 0.
        weights: ``(n,)``, may be negative.
        adaptation: adapts the *weighted* neighbours, as ILIAS' search program does; since it
            normalises, the weights then only act through its bias.

    Returns:
        Unit norm; the zero vector where query and neighbours cancel out.
    """
    own = np.asarray(query, dtype=np.float32)
    near = np.asarray(neighbours, dtype=np.float32)
    scaled = near * np.asarray(weights, dtype=np.float32)[:, None]
    if adaptation is not None and len(scaled):
        scaled = adaptation.apply(scaled)
    total = np.asarray(own, dtype=np.float64)
    if len(scaled):
        total = total + scaled.sum(axis=0, dtype=np.float64)
    norm = float(np.linalg.norm(total))
    return np.asarray(total / norm if norm > 0 else total, dtype=np.float32)
