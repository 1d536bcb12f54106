from __future__ import annotations

import asyncio

import pytest

from later import later
from patchrerank.testing.colours import BOXES, IDS, colour_query
from patchrerank.testing.frameworks import Answer, FrameworkConformance, ranked

adapter = later("patchrerank.integrations.frameworks.llama_index")
retriever = later("llama_index.core.base.base_retriever")
schema = later("llama_index.core.schema")


def nodes(candidates, kind="TextNode"):
    made = getattr(schema, kind)
    return [
        schema.NodeWithScore(node=made(text=c.body, metadata={"file": c.id}), score=c.score)
        for c in candidates
    ]


def answers(found):
    return [Answer(n.node.metadata["file"], n.score, n.node.metadata) for n in found]


class TestPostprocessor(FrameworkConformance):
    def rerank(self, reranking, query, candidates, top_k=None):
        given = nodes(candidates)
        before = [node.model_copy(deep=True) for node in given]
        made = adapter.PatchRerankPostprocessor(ranker=reranking.ranker, id_key="file", top_n=top_k)
        found = answers(made.postprocess_nodes(given, query_str=query))
        assert given == before
        later = asyncio.run(made.apostprocess_nodes(given, query_str=query))
        assert answers(later) == found
        return found

    def test_a_bundle_with_a_picture(self, reranking, tmp_path):
        colour_query("green").save(tmp_path / "q.png")
        made = adapter.PatchRerankPostprocessor(ranker=reranking.ranker, id_key="file")
        bundle = schema.QueryBundle("red", image_path=str(tmp_path / "q.png"))
        found = made.postprocess_nodes(nodes(ranked(IDS), "ImageNode"), query_bundle=bundle)
        assert found[0].node.metadata["file"] == "green.png"
        assert isinstance(found[0].node, schema.ImageNode)

    def test_what_is_known_is_hidden_from_language_models(self, reranking):
        made = adapter.PatchRerankPostprocessor(ranker=reranking.ranker, id_key="file")
        node = made.postprocess_nodes(nodes(ranked(IDS)), query_str="red")[0].node
        assert node.metadata["retrieval_score"] == 0.9
        assert "box" not in node.get_content(metadata_mode="llm")
        assert "file" in node.get_content(metadata_mode="llm")

    def test_behind_a_retriever(self, reranking, monkeypatch):
        from llama_index.core import Settings
        from llama_index.core.llms.mock import MockLLM
        from llama_index.core.query_engine import RetrieverQueryEngine

        class Fixed(retriever.BaseRetriever):
            def _retrieve(self, query_bundle):
                return nodes(ranked(IDS))

        monkeypatch.setattr(Settings, "_llm", MockLLM())
        ours = adapter.PatchRerankPostprocessor(ranker=reranking.ranker, id_key="file", top_n=2)
        engine = RetrieverQueryEngine(Fixed(), node_postprocessors=[ours])
        found = engine.query("blue").source_nodes
        assert found[0].node.metadata["box"] == pytest.approx(BOXES["blue"])
        assert len(found) == 2

    def test_it_needs_a_query(self, reranking):
        made = adapter.PatchRerankPostprocessor(ranker=reranking.ranker, id_key="file")
        with pytest.raises(ValueError, match="reranking needs a query"):
            made.postprocess_nodes(nodes(ranked(IDS)))
