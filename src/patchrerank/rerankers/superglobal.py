"""SuperGlobal: global descriptors refined by their neighbours, and the query by theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError, check_kind
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery
from patchrerank.rerankers.base import Reranker
from patchrerank.types import Floats, LocalScores, Queries, QueryCrop, Shortlist

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder


@dataclass(frozen=True)
class SuperGlobalSettings:
    """The published parameters.

    Attributes:
        candidates: M, how many candidates are refined and rescored.
        neighbours: K, how many neighbours refine a descriptor; K + 1 make the query.
        beta: β ≥ 0, the weight of the neighbours against the descriptor itself.
    """

    candidates: int = 400
    neighbours: int = 9
    beta: float = 0.15

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.neighbours < 0:
            raise SettingError(
                "candidates must be at least 1 and neighbours at least 0, got "
                f"{self.candidates} and {self.neighbours}"
            )
        if not 0.0 <= self.beta < float("inf"):
            raise SettingError(f"beta must be finite and at least 0, got {self.beta}")


class SuperGlobal(Reranker):
    """Rescores by refined global descriptors; needs nothing but the gallery's global vectors.

    Source: Shao et al., "Global Features are All You Need for Image Retrieval and Reranking",
    ICCV 2023 (reranking with global descriptors; its pooling is a matter of the encoder).
    Candidates behind the first M have no local score (``-inf``). It does not localise.

    Args:
        gallery: its global vectors are used.
        encoder: encodes query pictures; not needed for ready vectors.
        fusion: default λ = 0 on the first M candidates: the refined score alone.
        query_crop: what is done with a query's box before it is encoded.
        settings: M, K and β.
    """

    name = "superglobal"
    reads = frozenset({"globals"})

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder | None = None,
        fusion: Fusion | None = None,
        query_crop: QueryCrop = "none",
        settings: SuperGlobalSettings | None = None,
    ) -> None:
        check_kind("settings", settings, SuperGlobalSettings, "SuperGlobalSettings(…)")
        self.settings = settings if settings is not None else SuperGlobalSettings()
        default = Fusion(shortlist_size=self.settings.candidates)
        super().__init__(gallery, encoder, fusion if fusion is not None else default, query_crop)
        self.list_depth = self.settings.candidates

    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Return (s1 + s2)/2 of the first M candidates; see :func:`superglobal_scores`."""
        self.gallery.check_queries(queries)
        scores = np.full(shortlist.rows.shape, -np.inf, dtype=np.float32)
        how = self.settings
        for number, rows in enumerate(shortlist.rows):
            head = rows[: how.candidates]
            head = head[head >= 0]
            vectors = np.asarray(self.gallery.global_vectors[head], dtype=np.float32)
            found = superglobal_scores(queries.vectors[number], vectors, how.neighbours, how.beta)
            scores[number, : len(head)] = found
        return LocalScores(scores)


def superglobal_scores(
    query: npt.ArrayLike, vectors: npt.ArrayLike, neighbours: int = 9, beta: float = 0.15
) -> Floats:
    """Return the score of each candidate of one query.

    With x' the refined descriptors, s1 = ⟨q, x'⟩; q' is the element-wise maximum of the x' of
    the K + 1 highest s1; s2 = ⟨q', x'⟩; the score is (s1 + s2)/2.

    Args:
        query: ``(d,)``, unit norm.
        vectors: ``(n, d)``, unit norm, the candidates, best first; n may be 0.
        neighbours: K.
        beta: β.

    Returns:
        float32 ``(n,)``, higher is better.
    """
    array = np.asarray(vectors, dtype=np.float32)
    if not len(array):
        return np.zeros(0, dtype=np.float32)
    refined = refine_descriptors(array, neighbours, beta)
    first = refined @ np.asarray(query, dtype=np.float32)
    second = refined @ refine_query(refined, first, neighbours)
    return np.asarray((first + second) / 2, dtype=np.float32)


def refine_descriptors(vectors: Floats, neighbours: int = 9, beta: float = 0.15) -> Floats:
    """Return each descriptor averaged with its neighbours among the others, float32 ``(n, d)``.

    Of the K + 1 most similar descriptors the first (normally the descriptor itself) has the
    weight 1, the others β times their similarity; the weighted mean is not normalised again.
    Equal similarities: the lower row first.
    """
    similarities = vectors @ vectors.T
    order = np.argsort(-similarities, axis=1, kind="stable")[:, : neighbours + 1]
    weights = beta * np.take_along_axis(similarities, order, axis=1)
    weights[:, 0] = 1.0
    total = np.zeros(vectors.shape, dtype=np.float64)
    for rank in range(order.shape[1]):
        total += weights[:, rank, None] * vectors[order[:, rank]]
    return np.asarray(total / weights.sum(axis=1, dtype=np.float64)[:, None], dtype=np.float32)


def refine_query(refined: Floats, scores: Floats, neighbours: int = 9) -> Floats:
    """Return the element-wise maximum, ``(d,)``, of the K + 1 refined descriptors that score best.

    Equal scores: the lower row first. The query itself is not part of it.
    """
    best = np.argsort(-scores, kind="stable")[: neighbours + 1]
    return np.asarray(refined[best].max(axis=0))
