"""Clients that were not written for this service get their results from it."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from patchrerank.pipeline import load_reranker
from patchrerank.serving import Engine
from patchrerank.testing.colours import COLOURS, IDS, colour_encoder, colour_query
from served import served, uri

NAMES = list(IDS)
RED = NAMES.index("red.png")


def test_coheres_client(running):
    """Cohere's own SDK, its second version, with a base URL."""
    cohere = pytest.importorskip("cohere")
    client = cohere.ClientV2(api_key="none", base_url=running.url)
    answer = client.rerank(model="patchify", query="red", documents=NAMES, top_n=3)
    assert answer.results[0].index == RED
    assert len(answer.results) == 3
    scores = [result.relevance_score for result in answer.results]
    assert scores == sorted(scores, reverse=True)
    picture = uri(colour_query("green"))
    answer = client.rerank(model="patchify", query=picture, documents=NAMES)
    assert NAMES[answer.results[0].index] == "green.png"
    assert len(answer.results) == len(NAMES)
    asked = json.dumps({"id": "blue.png"})
    answer = client.rerank(model="patchify", query=asked, documents=NAMES)
    assert NAMES[answer.results[0].index] == "blue.png"


def test_what_coheres_client_makes_of_a_refusal(running):
    cohere = pytest.importorskip("cohere")
    client = cohere.ClientV2(api_key="none", base_url=running.url)
    with pytest.raises(cohere.core.ApiError) as error:
        client.rerank(model="patchify", query="red", documents=["no such id"])
    assert error.value.status_code == 422
    assert "1 of 1 ids are not in the gallery" in str(error.value.body)


def test_jina_and_vllm_over_plain_http(client):
    """As ``requests.post`` in their documents, with what each of them sends along."""
    jina = {
        "model": "jina-reranker-m0",
        "query": "red",
        "documents": [{"text": name} for name in NAMES],
        "top_n": 2,
        "return_documents": True,
        "max_doc_length": 1024,
    }
    answer = client.post("/v1/rerank", json=jina).json()
    assert answer["model"] == "jina-reranker-m0"
    assert set(answer["usage"]) >= {"total_tokens"}
    best = answer["results"][0]
    assert (best["index"], best["document"]) == (RED, {"text": "red.png"})
    content = [{"type": "image_url", "image_url": {"url": uri(colour_query("red"))}}]
    vllm = {
        "model": "Qwen/Qwen3-VL-Reranker-2B",
        "query": {"content": content},
        "documents": [{"content": [{"type": "text", "text": name}]} for name in NAMES],
        "top_n": 0,
        "truncate_prompt_tokens": -1,
    }
    results = client.post("/rerank", json=vllm).json()["results"]
    assert results[0]["index"] == RED
    assert len(results) == len(NAMES)


def test_one_content_with_several_pictures_is_refused(client):
    part = {"type": "image_url", "image_url": {"url": uri(colour_query("red"))}}
    for documents in ({"content": [part, part]}, [{"content": [part, part]}]):
        answer = client.post("/rerank", json={"query": "red", "documents": documents})
        assert answer.status_code == 422
        assert "one content for each document" in answer.json()["detail"]
    one = client.post("/rerank", json={"query": "red", "documents": {"content": [part]}})
    assert one.json()["results"][0]["local_score"] == pytest.approx(1, abs=1e-3)


def test_tei_is_answered_with_a_bare_list(client):
    body = {"query": "red", "texts": NAMES, "raw_scores": False, "return_text": True}
    answer = client.post("/rerank", json={**body, "truncate": True}).json()
    assert isinstance(answer, list)
    assert (answer[0]["index"], answer[0]["text"]) == (RED, "red.png")
    assert all(one["score"] > other["score"] for one, other in pairwise(answer))


MILVUS = {
    "vllm": (
        '{"documents":["red.png","green.png","blue.png"],"query":"green",'
        '"truncate_prompt_tokens":100}'
    ),
    "tei": (
        '{"query":"green","raw_scores":false,"return_text":false,'
        '"texts":["red.png","green.png","blue.png"],"truncate":true,"truncation_direction":"Right"}'
    ),
}
"""Bodies that Milvus' model ranker posts to ``/rerank``, by provider, from its clients' sources
(``internal/util/function/models/{vllm,tei}``): maps whose keys Go sorts."""


@pytest.mark.parametrize("provider", MILVUS)
def test_milvus_model_ranker(client, provider):
    headers = {"Content-Type": "application/json", "Authorization": "Bearer key"}
    answer = client.post("/rerank", content=MILVUS[provider], headers=headers).json()
    results, key = (
        (answer, "score") if provider == "tei" else (answer["results"], "relevance_score")
    )
    results.sort(key=lambda result: result["index"])  # as Milvus does
    scores = [np.float32(result[key]) for result in results]
    assert len(scores) == 3
    assert int(np.argmax(scores)) == 1


def test_haystacks_client(running):
    """jina-haystack, whose ranker takes an address since 2.0, and cohere-haystack."""
    pytest.importorskip("haystack")
    rankers = pytest.importorskip("haystack_integrations.components.rankers.jina")
    from haystack import Document
    from haystack.utils import Secret

    ranker = rankers.JinaRanker(
        api_key=Secret.from_token("none"), base_url=f"{running.url}/v1/rerank"
    )
    found = ranker.run(query="red", documents=[Document(content=name) for name in NAMES], top_k=2)
    assert found["documents"][0].content == "red.png"
    assert len(found["documents"]) == 2
    by_cohere = pytest.importorskip("haystack_integrations.components.rankers.cohere")
    ranker = by_cohere.CohereRanker(api_key=Secret.from_token("none"), api_base_url=running.url)
    found = ranker.run(query="red", documents=[Document(content=name) for name in NAMES], top_k=2)
    assert found["documents"][0].content == "red.png"


def test_llama_index_clients(running):
    """llama-index-postprocessor-jinaai-rerank, -tei-rerank and -cohere-rerank."""
    pytest.importorskip("llama_index.core")
    jina = pytest.importorskip("llama_index.postprocessor.jinaai_rerank")
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    nodes = [NodeWithScore(node=TextNode(text=name), score=0.5) for name in NAMES]
    ranker = jina.JinaRerank(base_url=f"{running.url}/v1", api_key="none", top_n=2)
    found = ranker.postprocess_nodes(nodes, QueryBundle("blue"))
    assert found[0].node.get_content() == "blue.png"
    tei = pytest.importorskip("llama_index.postprocessor.tei_rerank")
    ranker = tei.TextEmbeddingInference(base_url=running.url, top_n=2)
    found = ranker.postprocess_nodes(nodes, QueryBundle("blue"))
    assert found[0].node.get_content() == "blue.png"
    by_cohere = pytest.importorskip("llama_index.postprocessor.cohere_rerank")
    ranker = by_cohere.CohereRerank(base_url=running.url, api_key="none", top_n=2)
    found = ranker.postprocess_nodes(nodes, QueryBundle("blue"))
    assert found[0].node.get_content() == "blue.png"


RECORDED = {
    "haystack JinaRanker": (
        "/v1/rerank",
        {"query": "red", "documents": NAMES, "model": "jina-reranker-v1-base-en", "top_n": None},
    ),
    "llama-index JinaRerank": (
        "/v1/rerank",
        {"query": "red", "documents": NAMES, "model": "jina-reranker-v1-base-en", "top_n": 2},
    ),
}
"""What their clients post, from their sources; they read ``index`` and ``relevance_score`` of
``results``, ``model`` and ``usage``, and of a refusal ``detail``."""


@pytest.mark.parametrize("name", RECORDED)
def test_bodies_that_clients_post(client, name):
    path, body = RECORDED[name]
    answer = client.post(path, json=body).json()
    assert answer["results"][0]["index"] == RED
    assert isinstance(answer["results"][0]["relevance_score"], float)
    assert answer["model"] == body["model"]
    assert answer["usage"]


@pytest.mark.parametrize("shape", ["jina", "cohere", "vllm", "tei"])
def test_our_own_stage_of_pairs_asks_our_own_service(colours, tmp_path, shape):
    """A service on pictures is the endpoint of somebody's ``pairs`` stage, in every shape."""
    with served(Engine(colours.folder, "patchify:all:0:1", encoder=colour_encoder())) as far:
        endpoint = tmp_path / "endpoint.json"
        settings = {"url": f"{far.url}/v2/rerank", "shape": shape, "scale": "probability"}
        endpoint.write_text(json.dumps(settings))
        near = load_reranker(colours, f"pairs@{endpoint}:6:0:1", encoder=colour_encoder())
        for colour in COLOURS:
            picture = Image.open(colours.pictures[colours.rows_of([f"{colour}.png"])[0]])
            hits = near.rank(picture, NAMES)
            assert {hit.status for hit in hits} == {"rescored"}
            assert hits[0].id == f"{colour}.png"
