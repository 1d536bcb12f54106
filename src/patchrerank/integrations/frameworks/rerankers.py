"""AnswerDotAI's rerankers: one more ``BaseRanker``.

Run with rerankers 0.10 (extra ``rerankers``). To have it made by name::

    from rerankers.reranker import AVAILABLE_RANKERS
    AVAILABLE_RANKERS["patchrerank"] = PatchRerankRanker
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from patchrerank.errors import SettingError
from patchrerank.integrations.extras import of_extra
from patchrerank.integrations.frameworks.reranking import Reranking

with of_extra("rerankers", "rerankers"):
    from rerankers.documents import Document
    from rerankers.models.ranker import BaseRanker
    from rerankers.results import RankedResults, Result


class PatchRerankRanker(BaseRanker):
    """Documents in a better order, as copies; what is known of a hit stands in their metadata.

    The gallery id of a document is its ``doc_id``, or the entry of its metadata that ``id_key``
    names.

    Args:
        reranking: the reranker, and what queries are.
        id_key: of the metadata; None: ``doc_id``.
    """

    def __init__(self, reranking: Reranking, id_key: str | None = None, verbose: int = 1) -> None:
        self.reranking, self.id_key, self.verbose = reranking, id_key, verbose

    def rank(
        self,
        query: Any,
        docs: Any,
        doc_ids: Sequence[Any] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
    ) -> RankedResults:
        """Rerank documents, best first; texts without ``doc_ids`` are ids themselves.

        Raises:
            SettingError: another number of ids or metadata than documents.
            PatchRerankError: as :meth:`patchrerank.rerankers.Ranker.rank` does.
        """
        listed = _documents(docs, doc_ids, metadata)
        ids = [d.doc_id if self.id_key is None else (d.metadata or {}).get(self.id_key)
               for d in listed]  # fmt: skip
        results = [
            Result(document=_told(listed[one.index], one.record()), score=one.score, rank=place)
            for place, one in enumerate(self.reranking.place(query, ids), 1)
        ]
        return RankedResults(results=results, query=query, has_scores=True)

    def score(self, query: Any, doc: Any) -> float:
        """Return the score of one document."""
        return float(self.rank(query, [doc]).results[0].score)


def _documents(
    docs: Any, ids: Sequence[Any] | None, metadata: Sequence[dict[str, Any]] | None
) -> list[Document]:
    listed = [docs] if isinstance(docs, str | Document) else list(docs)
    for name, given in (("doc_ids", ids), ("metadata", metadata)):
        if given is not None and len(given) != len(listed):
            raise SettingError(f"{len(listed)} documents but {len(given)} {name}")
    found = []
    for place, one in enumerate(listed):
        if isinstance(one, Document):
            found.append(one)
            continue
        known = dict(metadata[place]) if metadata is not None else {}
        found.append(Document(text=one, doc_id=one if ids is None else ids[place], metadata=known))
    return found


def _told(document: Document, record: dict[str, Any]) -> Document:
    """Return a copy of a document that knows what is known of its hit."""
    told = copy.copy(document)
    told.metadata = {**(document.metadata or {}), **record}
    return told
