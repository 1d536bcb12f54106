"""LangChain: a document compressor, and a retriever around another one.

Run with langchain-core 1.8 and langchain-classic 1.0 (extra ``langchain``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
    Callbacks,
)
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, model_validator

from patchrerank.integrations.frameworks.reranking import QueryIs, Reranking
from patchrerank.rerankers import Ranker
from patchrerank.score_reading import Metric
from patchrerank.types import Missing
from patchrerank.types.text import AS_GIVEN


class PatchRerankCompressor(BaseDocumentCompressor):
    """Documents in a better order, as copies; what is known of a hit stands in their metadata.

    ``metadata`` gets ``relevance_score`` (falls strictly), ``global_score``, ``local_score``,
    ``box``, ``status`` and ``probability``.

    Attributes:
        ranker: a reranker or cascade (``patchrerank.load_reranker``).
        id_key: the metadata key of the gallery id; None: the document's own ``id``.
        score_key: the metadata key of the first stage's score; None: only the order counts.
        top_n: how many documents come back; None: all.
        query_is, templates, missing, metric: see
            :class:`patchrerank.integrations.frameworks.reranking.Reranking`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    ranker: Ranker
    id_key: str | None = None
    score_key: str | None = None
    top_n: int | None = None
    query_is: QueryIs = "text"
    templates: Sequence[str] = AS_GIVEN
    missing: Missing = "keep"
    metric: Metric | None = None

    @model_validator(mode="after")
    def _checked(self) -> PatchRerankCompressor:
        self._reranking()
        return self

    def _reranking(self) -> Reranking:
        return Reranking(self.ranker, self.query_is, self.templates, self.missing, self.metric)

    def compress_documents(
        self, documents: Sequence[Document], query: Any, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the documents in a better order; pictures and vectors are queries, too."""
        ids = [
            document.id if self.id_key is None else document.metadata.get(self.id_key)
            for document in documents
        ]
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
