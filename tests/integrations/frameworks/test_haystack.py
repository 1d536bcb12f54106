from __future__ import annotations

import asyncio
import json

import pytest

from later import later
from patchrerank.errors import SettingError
from patchrerank.testing.colours import BOXES, IDS, colour_query
from patchrerank.testing.frameworks import Answer, FrameworkConformance, ranked

adapter = later("patchrerank.integrations.frameworks.haystack")
haystack = later("haystack")


def documents(candidates):
    return [
        haystack.Document(id=str(n), content=c.body, meta={"file": c.id}, score=c.score)
        for n, c in enumerate(candidates)
    ]


def component(reranking, **settings):
    made = adapter.PatchRerankRanker(
        str(reranking.ranker.gallery.folder), id_key="file", **settings
    )
    made._reranking = reranking
    return made


def answers(found):
    return [Answer(d.meta["file"], d.score, d.meta) for d in found["documents"]]


class TestRanker(FrameworkConformance):
    def rerank(self, reranking, query, candidates, top_k=None):
        given = documents(candidates)
        before = [document.to_dict() for document in given]
        made = component(reranking)
        found = answers(made.run(given, query=query, top_k=top_k))
        assert [document.to_dict() for document in given] == before
        again = asyncio.run(made.run_async(given, query=query, top_k=top_k))
        assert answers(again) == found
        return found

    def test_a_picture_asks_too(self, reranking, tmp_path):
        colour_query("green").save(tmp_path / "q.png")
        given = documents(ranked(IDS))
        held = haystack.dataclasses.ByteStream.from_file_path(tmp_path / "q.png")
        for picture in (held, str(tmp_path / "q.png")):
            found = component(reranking).run(given, query="red", query_image=picture)
            assert found["documents"][0].meta["file"] == "green.png"

    def test_a_document_twice_counts_once(self, reranking):
        given = documents(ranked(IDS))
        assert len(component(reranking).run([*given, given[0]], query="red")["documents"]) == 6

    def test_in_a_pipeline(self, reranking):
        pipeline = haystack.Pipeline()
        pipeline.add_component("ranker", component(reranking, top_k=1))
        given = {"ranker": {"documents": documents(ranked(IDS)), "query": "blue"}}
        found = pipeline.run(given)["ranker"]["documents"]
        assert found[0].meta["box"] == pytest.approx(BOXES["blue"])
        later = asyncio.run(pipeline.run_async(given))["ranker"]["documents"]
        assert later == found

    def test_it_is_saved_and_made_again(self, reranking):
        made = component(reranking, top_k=3, query_is="auto", missing="drop")
        told = made.to_dict()
        again = adapter.PatchRerankRanker.from_dict(json.loads(json.dumps(told)))
        assert again.to_dict() == told
        assert again.top_k == 3
        assert again.missing == "drop"
        pipeline = haystack.Pipeline()
        pipeline.add_component("ranker", made)
        loaded = haystack.Pipeline.loads(pipeline.dumps(), allowed_modules=["patchrerank.*"])
        assert loaded.get_component("ranker").to_dict() == told

    def test_it_needs_a_query(self, reranking):
        with pytest.raises(SettingError, match="pass query= or query_image="):
            component(reranking).run(documents(ranked(IDS)))

    def test_a_cut_is_a_count(self, reranking):
        with pytest.raises(SettingError, match="top_k must be"):
            component(reranking, top_k=-1)
        with pytest.raises(SettingError, match="top_k must be"):
            component(reranking).run(documents(ranked(IDS)), query="red", top_k=-1)
