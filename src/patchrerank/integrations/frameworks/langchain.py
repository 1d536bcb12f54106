"""LangChain: a document compressor, and a retriever around another one.

Run with langchain-core 1.8 and langchain-classic 1.0 (extra ``langchain``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from patchrerank.integrations.extras import of_extra

with of_extra("langchain", "langchain_core"):
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
        Callbacks,
    )
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.retrievers import BaseRetriever

    from patchrerank.integrations.frameworks.pydantic_fields import RerankingFields


class PatchRerankCompressor(RerankingFields, BaseDocumentCompressor):
    """Documents in a better order, as copies; what is known of a hit stands in their metadata.

    ``metadata`` gets ``relevance_score`` (falls strictly), ``global_score``, ``local_score``,
    ``box``, ``status`` and ``probability``.

    Attributes:
        score_key: the metadata key of the first stage's score; None: only the order counts.
        ranker, id_key, top_n, query_is, templates, missing, metric: see
            :class:`patchrerank.integrations.frameworks.pydantic_fields.RerankingFields`.
    """

    score_key: str | None = None

    def compress_documents(
        self, documents: Sequence[Document], query: Any, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the documents in a better order; pictures and vectors are queries, too."""
        ids = [self._id(document.id, document.metadata) for document in documents]
        scores = None
        if self.score_key is not None:
            scores = [document.metadata.get(self.score_key) for document in documents]
        placed = self._reranking().place(query, ids, scores, self.top_n)
        return [
            documents[one.index].model_copy(
                update={
                    "metadata": {
                        **documents[one.index].metadata,
                        "relevance_score": one.score,
                        **one.record(),
                    }
                }
            )
            for one in placed
        ]

    async def acompress_documents(
        self, documents: Sequence[Document], query: Any, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the documents in a better order, from another thread."""
        return await asyncio.to_thread(self.compress_documents, documents, query, callbacks)


class PatchRerankRetriever(BaseRetriever):
    """A retriever whose documents are reranked.

    Attributes:
        base_retriever: finds the candidates.
        compressor: reranks them.
    """

    base_retriever: BaseRetriever
    compressor: PatchRerankCompressor

    def _get_relevant_documents(
        self, query: Any, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        config = {"callbacks": run_manager.get_child()}
        found = self.base_retriever.invoke(query, config=config)
        return self.compressor.compress_documents(found, query)

    async def _aget_relevant_documents(
        self, query: Any, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        config = {"callbacks": run_manager.get_child()}
        found = await self.base_retriever.ainvoke(query, config=config)
        return await self.compressor.acompress_documents(found, query)
