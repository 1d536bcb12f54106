"""sentence-transformers: an object with ``CrossEncoder``'s ``rank`` and ``predict``.

Its evaluators take it: run with sentence-transformers 6.2. Nothing of that package is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.integrations.frameworks.reranking import Reranking
from patchrerank.rerankers.hits import check_top_k

LACKING = np.float32(-1e9)
"""Score of what the gallery does not hold: behind everything that it does."""


class _Card:
    """Takes what evaluators note down about a model."""

    def set_evaluation_metrics(self, *_: Any, **__: Any) -> None:
        """Keep nothing."""


class PatchRerankEncoder:
    """Scores pairs of a query and an id of the gallery, as a cross-encoder scores pairs of texts.

    Documents are ids (or mappings with a key ``id``). There is no first stage in this interface:
    the order of documents that are passed to :meth:`rank` counts as one only where λ > 0.

    Args:
        reranking: the reranker, and what queries are.
    """

    def __init__(self, reranking: Reranking) -> None:
        self.reranking = reranking
        self.model_card_data = _Card()

    def rank(
        self,
        query: Any,
        documents: Sequence[Any],
        top_k: int | None = None,
        return_documents: bool = False,
        **_: Any,
    ) -> list[dict[str, Any]]:
        """Return ``{"corpus_id", "score", …}`` of each document, best first.

        Args:
            query: words, a picture or a vector.
            documents: ids of the gallery.
            top_k: return only the first.
            return_documents: put the document beside its score, as ``text``.

        Raises:
            PatchRerankError: as :meth:`patchrerank.rerankers.Ranker.rank` does.
        """
        check_top_k(top_k)
        placed = self.reranking.place(query, [_id(document) for document in documents], None, top_k)
        found = []
        for one in placed:
            told = {"corpus_id": one.index, "score": one.score, **one.record()}
            text = {"text": documents[one.index]} if return_documents else {}
            found.append({**told, **text})
        return found

    def predict(self, sentences: Any, **_: Any) -> npt.NDArray[np.float32] | np.float32:
        """Return the local score of each ``(query, id)`` pair, float32 ``(n,)``, or of one pair.

        Pairs of one query, which need not stand together, are scored at once. What the gallery
        does not hold is scored -1e9.

        Raises:
            PatchRerankError: as :meth:`patchrerank.rerankers.Ranker.rank` does.
        """
        single = len(sentences) == 2 and isinstance(sentences[0], str)
        pairs = [sentences] if single else list(sentences)
        groups: dict[Any, list[int]] = {}
        for place, (query, _document) in enumerate(pairs):
            groups.setdefault(query if isinstance(query, str) else id(query), []).append(place)
        scores = np.full(len(pairs), LACKING, dtype=np.float32)
        lists = list(groups.values())
        queries = [pairs[places[0]][0] for places in lists]
        ids = [[_id(pairs[place][1]) for place in places] for places in lists]
        for places, found in zip(lists, self.reranking.place_batch(queries, ids), strict=True):
            for one in found:
                if one.hit.local_score is not None:
                    scores[places[one.index]] = one.hit.local_score
        return scores[0] if single else scores


def _id(document: Any) -> Any:
    return document.get("id") if isinstance(document, dict) else document
