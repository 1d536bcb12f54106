from __future__ import annotations

import asyncio
import copy

import pytest

from later import later
from patchrerank.errors import SettingError
from patchrerank.testing.colours import IDS
from patchrerank.testing.frameworks import Answer, FrameworkConformance

adapter = later("patchrerank.integrations.frameworks.rerankers")
rerankers = later("rerankers")


class TestRanker(FrameworkConformance):
    def rerank(self, reranking, query, candidates, top_k=None):
        given = [
            rerankers.Document(text=c.body, doc_id=c.id, metadata={"n": 1}) for c in candidates
        ]
        before = [copy.deepcopy(vars(document)) for document in given]
        found = adapter.PatchRerankRanker(reranking).rank(query, given)
        assert [vars(document) for document in given] == before
        later = asyncio.run(adapter.PatchRerankRanker(reranking).rank_async(query, given))
        assert [(r.document.doc_id, r.score) for r in later] == [
            (r.document.doc_id, r.score) for r in found
        ]
        assert [result.rank for result in found] == list(range(1, found.results_count() + 1))
        results = found.results if top_k is None else found.top_k(top_k)
        return [Answer(r.document.doc_id, r.score, r.document.metadata) for r in results]

    def test_texts_are_ids_themselves(self, reranking):
        found = adapter.PatchRerankRanker(reranking).rank("red", list(IDS))
        assert found.results[0].document.doc_id == "red.png"
        assert adapter.PatchRerankRanker(reranking).score("red", "red.png") > 0.7

    def test_ids_beside_texts(self, reranking):
        found = adapter.PatchRerankRanker(reranking).rank("red", ["text"] * 6, doc_ids=list(IDS))
        assert found.get_score_by_docid("red.png") == found.results[0].score
        with pytest.raises(SettingError, match="6 documents but 1 doc_ids"):
            adapter.PatchRerankRanker(reranking).rank("red", ["text"] * 6, doc_ids=["a"])

    def test_a_metadata_key(self, reranking):
        docs = [
            rerankers.Document(text="", doc_id=n, metadata={"file": name})
            for n, name in enumerate(IDS)
        ]
        found = adapter.PatchRerankRanker(reranking, id_key="file").rank("green", docs)
        assert found.results[0].document.metadata["file"] == "green.png"

    def test_made_by_name(self, reranking, monkeypatch):
        made = type("Made", (adapter.PatchRerankRanker,), {})
        monkeypatch.setitem(
            rerankers.reranker.AVAILABLE_RANKERS, "patchrerank", lambda *_, **__: made(reranking)
        )
        ranker = rerankers.Reranker("ours", model_type="patchrerank")
        assert ranker.rank("red", list(IDS)).results[0].document.doc_id == "red.png"
