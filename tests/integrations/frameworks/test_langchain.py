from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("langchain_core")

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda

from patchrerank.errors import SettingError
from patchrerank.integrations.frameworks.langchain import (
    PatchRerankCompressor,
    PatchRerankRetriever,
)
from patchrerank.testing.colours import BOXES, IDS, colour_query
from patchrerank.testing.frameworks import Answer, FrameworkConformance, ranked


def documents(candidates, key="file"):
    return [
        Document(page_content=c.body, metadata={key: c.id, "first": c.score}, id=str(n))
        for n, c in enumerate(candidates)
    ]


def answers(found):
    return [Answer(d.metadata["file"], d.metadata["relevance_score"], d.metadata) for d in found]


class Fixed(BaseRetriever):
    """A retriever that always finds the same."""

    found: list[Document]

    def _get_relevant_documents(self, query, *, run_manager):
        return self.found


class TestCompressor(FrameworkConformance):
    def rerank(self, reranking, query, candidates, top_k=None):
        compressor = PatchRerankCompressor(
            ranker=reranking.ranker, id_key="file", score_key="first", top_n=top_k
        )
        given = documents(candidates)
        before = [document.model_copy(deep=True) for document in given]
        found = answers(compressor.compress_documents(given, query))
        assert given == before
        assert answers(asyncio.run(compressor.acompress_documents(given, query))) == found
        return found

    def test_a_picture_asks_too(self, reranking):
        compressor = PatchRerankCompressor(ranker=reranking.ranker, id_key="file")
        found = compressor.compress_documents(documents(ranked(IDS)), colour_query("green"))
        assert found[0].metadata["file"] == "green.png"

    def test_a_path_is_a_picture_where_the_caller_says_so(self, reranking, tmp_path):
        colour_query("green").save(tmp_path / "red.png")
        for how, best in (("image", "green.png"), ("auto", "green.png"), ("text", "red.png")):
            compressor = PatchRerankCompressor(
                ranker=reranking.ranker,
                id_key="file",
                query_is=how,
                templates=["{} red"] if how == "text" else ["{}"],
            )
            found = compressor.compress_documents(documents(ranked(IDS)), str(tmp_path / "red.png"))
            assert found[0].metadata["file"] == best

    def test_the_documents_own_id(self, reranking):
        given = [Document(page_content="", id=name) for name in IDS]
        compressor = PatchRerankCompressor(ranker=reranking.ranker)
        assert compressor.compress_documents(given, "red")[0].id == "red.png"

    def test_around_a_retriever(self, reranking):
        compressor = PatchRerankCompressor(ranker=reranking.ranker, id_key="file", top_n=2)
        retriever = PatchRerankRetriever(
            base_retriever=Fixed(found=documents(ranked(IDS))), compressor=compressor
        )
        found = retriever.invoke("blue")
        assert found[0].metadata["box"] == pytest.approx(BOXES["blue"])
        assert asyncio.run(retriever.ainvoke("blue")) == found
        chain = retriever | RunnableLambda(lambda docs: [doc.metadata["file"] for doc in docs])
        assert chain.invoke("blue")[0] == "blue.png"

    def test_in_langchains_own_retriever(self, reranking):
        classic = pytest.importorskip("langchain_classic.retrievers.contextual_compression")
        compressor = PatchRerankCompressor(ranker=reranking.ranker, id_key="file", top_n=2)
        retriever = classic.ContextualCompressionRetriever(
            base_compressor=compressor, base_retriever=Fixed(found=documents(ranked(IDS)))
        )
        assert retriever.invoke("red")[0].metadata["file"] == "red.png"

    def test_settings_are_checked_when_it_is_made(self, reranking):
        with pytest.raises(SettingError, match="use text, image or auto"):
            PatchRerankCompressor.model_construct(
                ranker=reranking.ranker, query_is="sound"
            )._reranking()
        with pytest.raises(ValueError, match="query_is"):
            PatchRerankCompressor(ranker=reranking.ranker, query_is="sound")
        with pytest.raises(ValueError, match="extra"):
            PatchRerankCompressor(ranker=reranking.ranker, topn=3)
