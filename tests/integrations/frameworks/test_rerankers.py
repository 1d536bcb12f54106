from __future__ import annotations

import asyncio
import copy

import pytest

pytest.importorskip("rerankers")

from rerankers.reranker import AVAILABLE_RANKERS

from patchrerank.errors import SettingError
from patchrerank.integrations.frameworks.rerankers import PatchRerankRanker
from patchrerank.testing.colours import IDS
from patchrerank.testing.frameworks import Answer, FrameworkConformance
from rerankers import Document, Reranker


class TestRanker(FrameworkConformance):
    def rerank(self, reranking, query, candidates, top_k=None):
        given = [Document(text=c.body, doc_id=c.id, metadata={"n": 1}) for c in candidates]
        before = [copy.deepcopy(vars(document)) for document in given]
        found = PatchRerankRanker(reranking).rank(query, given)
        assert [vars(document) for document in given] == before
        later = asyncio.run(PatchRerankRanker(reranking).rank_async(query, given))
        assert [(r.document.doc_id, r.score) for r in later] == [
            (r.document.doc_id, r.score) for r in found
        ]
        assert [result.rank for result in found] == list(range(1, found.results_count() + 1))
        results = found.results if top_k is None else found.top_k(top_k)
        return [Answer(r.document.doc_id, r.score, r.document.metadata) for r in results]

    def test_texts_are_ids_themselves(self, reranking):
        found = PatchRerankRanker(reranking).rank("red", list(IDS))
        assert found.results[0].document.doc_id == "red.png"
        assert PatchRerankRanker(reranking).score("red", "red.png") > 0.7

    def test_ids_beside_texts(self, reranking):
        found = PatchRerankRanker(reranking).rank("red", ["text"] * 6, doc_ids=list(IDS))
        assert found.get_score_by_docid("red.png") == found.results[0].score
        with pytest.raises(SettingError, match="6 documents but 1 doc_ids"):
            PatchRerankRanker(reranking).rank("red", ["text"] * 6, doc_ids=["a"])

    def test_a_metadata_key(self, reranking):
        docs = [Document(text="", doc_id=n, metadata={"file": name}) for n, name in enumerate(IDS)]
        found = PatchRerankRanker(reranking, id_key="file").rank("green", docs)
        assert found.results[0].document.metadata["file"] == "green.png"

    def test_made_by_name(self, reranking, monkeypatch):
        made = type("Made", (PatchRerankRanker,), {})
        monkeypatch.setitem(AVAILABLE_RANKERS, "patchrerank", lambda *_, **__: made(reranking))
        ranker = Reranker("ours", model_type="patchrerank")
        assert ranker.rank("red", list(IDS)).results[0].document.doc_id == "red.png"
