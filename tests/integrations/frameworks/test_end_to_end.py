"""Each framework's own pipeline, asked with a picture and with words of open_clip's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tests.encoders.test_text_encoder import MODELS, write_model

from patchrerank import Text, load_reranker
from patchrerank.gallery import BuildOptions, build_gallery
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import Patchify
from patchrerank.testing.colours import IDS, colour_pictures


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Six pictures, their gallery by a model of two towers with random weights, and a query."""
    from patchrerank.encoders import load_encoder

    root = tmp_path_factory.mktemp("spoken")
    write_model(root / "model", MODELS["plain"])
    encoder = load_encoder(f"open_clip:local-dir:{root / 'model'}", device="cpu", backend="eager")
    pictures = colour_pictures(root / "pictures")
    quiet = BuildOptions(progress=False)
    build_gallery(root / "gallery", pictures, encoder, GridPyramid(2), quiet)
    return root


@pytest.fixture(scope="module")
def ranker(place):
    return load_reranker(place / "gallery")


@pytest.fixture(params=["words", "picture"])
def asked(request, place, ranker):
    """How the query is told, what it is, and what must come out of the first four."""
    picture = str(place / "pictures" / "red.png")
    query, how = ("a red mug", "text") if request.param == "words" else (picture, "image")
    given = Text(query) if how == "text" else query
    expected = ranker.rank(given, list(IDS[:4]))
    assert all(a.score > b.score for a, b in pairwise(expected))
    return query, how, [hit.id for hit in expected]


def told(found, expected):
    names, scores = zip(*found, strict=True)
    assert list(names) == expected
    assert all(a > b for a, b in pairwise(scores))


def test_haystack(place, asked):
    haystack = pytest.importorskip("haystack")
    from haystack.components.joiners import DocumentJoiner

    from patchrerank.integrations.frameworks.haystack import PatchRerankRanker

    query, how, expected = asked
    pipeline = haystack.Pipeline()
    pipeline.add_component("first", DocumentJoiner(top_k=4))
    pipeline.add_component("ranker", PatchRerankRanker(str(place / "gallery"), id_key="file"))
    pipeline.connect("first.documents", "ranker.documents")
    documents = [
        haystack.Document(content=name, meta={"file": name}, score=1 - n / 10)
        for n, name in enumerate(IDS)
    ]
    slot = "query" if how == "text" else "query_image"
    found = pipeline.run({"first": {"documents": documents}, "ranker": {slot: query}})
    told([(d.meta["file"], d.score) for d in found["ranker"]["documents"]], expected)


def test_llama_index(ranker, asked, monkeypatch):
    pytest.importorskip("llama_index.core")
    from llama_index.core import Settings
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.llms.mock import MockLLM
    from llama_index.core.query_engine import RetrieverQueryEngine
    from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle

    from patchrerank.integrations.frameworks.llama_index import PatchRerankPostprocessor

    class First(BaseRetriever):
        def _retrieve(self, query_bundle):
            nodes = [ImageNode(metadata={"file": name}) for name in IDS[:4]]
            return [NodeWithScore(node=node, score=0.5) for node in nodes]

    query, how, expected = asked
    monkeypatch.setattr(Settings, "_llm", MockLLM())
    ours = PatchRerankPostprocessor(ranker=ranker, id_key="file")
    engine = RetrieverQueryEngine(First(), node_postprocessors=[ours])
    bundle = QueryBundle(query) if how == "text" else QueryBundle("", image_path=query)
    found = engine.query(bundle).source_nodes
    told([(node.node.metadata["file"], node.score) for node in found], expected)


def test_langchain(ranker, asked):
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever

    from patchrerank.integrations.frameworks.langchain import (
        PatchRerankCompressor,
        PatchRerankRetriever,
    )

    class First(BaseRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            return [Document(page_content="", metadata={"file": name}) for name in IDS[:4]]

    query, how, expected = asked
    ours = PatchRerankCompressor(ranker=ranker, id_key="file", query_is=how)
    found = PatchRerankRetriever(base_retriever=First(), compressor=ours).invoke(query)
    told([(d.metadata["file"], d.metadata["relevance_score"]) for d in found], expected)


def test_pyterrier(ranker, asked):
    pt = pytest.importorskip("pyterrier")
    pd = pytest.importorskip("pandas")
    from patchrerank.integrations.frameworks.pyterrier import PatchRerankTransformer
    from patchrerank.integrations.frameworks.reranking import Reranking

    query, how, expected = asked
    one = {"qid": "1", "query": query}
    rows = [{**one, "docno": name, "score": -n, "rank": n} for n, name in enumerate(IDS)]
    first = pt.Transformer.from_df(pd.DataFrame(rows))
    rerank = PatchRerankTransformer(
        Reranking(Patchify(ranker.gallery, ranker.query_encoder()), how)
    )
    found = (first % 4 >> rerank)(pd.DataFrame([one]))
    told(list(zip(found["docno"], found["score"], strict=True)), expected)
    assert found["rank"].tolist() == np.arange(4).tolist()
