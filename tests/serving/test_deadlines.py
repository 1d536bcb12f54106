"""Requests together, and in time: a busy service answers with the first stage's order."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from patchrerank.serving import Engine, ServiceSettings
from patchrerank.testing.colours import COLOURS, IDS, colour_encoder, colour_query
from served import served, uri

NAMES = list(IDS)
SCORES = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]


class Slow:
    """What stands before a method: it can be held, and counts the calls."""

    def __init__(self, monkeypatch, owner, name):
        self.free, self.calls, self.busy = threading.Event(), [], threading.Event()
        self.free.set()
        plain = getattr(owner, name)

        def slowly(first, *others):
            self.calls.append(len(first))
            self.busy.set()
            assert self.free.wait(20)
            return plain(first, *others)

        monkeypatch.setattr(owner, name, slowly)

    def hold(self):
        self.free.clear()
        self.busy.clear()


@pytest.fixture
def engine(colours, stages):
    return Engine(colours.folder, stages, encoder=colour_encoder())


@pytest.fixture
def rerank(engine, monkeypatch):
    slow = Slow(monkeypatch, engine.current.reranker, "rerank")
    yield slow
    slow.free.set()


@pytest.fixture
def encode(engine, monkeypatch):
    slow = Slow(monkeypatch, engine.current.reranker, "encode")
    yield slow
    slow.free.set()


@pytest.fixture
def asking(engine):
    with served(engine, ServiceSettings(max_queue=4)) as found, found.client() as client:
        client.running = found
        yield client


def test_requests_of_one_moment_are_scored_together(engine, rerank):
    with served(engine, ServiceSettings(collect=0.05)) as found, found.client() as client:
        bodies = [{"query": {"id": f"{name}.png"}, "documents": NAMES} for name in COLOURS]
        alone = [client.post("/rerank", json=body).json()["results"] for body in bodies]
        assert set(rerank.calls) == {1}
        rerank.hold()
        with ThreadPoolExecutor(12) as pool:
            first = pool.submit(client.post, "/rerank", json=bodies[0])
            assert rerank.busy.wait(10)
            others = [pool.submit(client.post, "/rerank", json=bodies[n % 3]) for n in range(9)]
            while found.service.inside < 10:
                time.sleep(0.01)
            time.sleep(0.1)
            rerank.free.set()
            together = [done.result().json()["results"] for done in others]
            assert first.result().json()["results"] == alone[0]
        assert rerank.calls[3:] == [1, 5, 4]  # half of those inside, then who is left
        for number, results in enumerate(together):
            assert [hit["index"] for hit in results] == [hit["index"] for hit in alone[number % 3]]
            for hit, twin in zip(results, alone[number % 3], strict=True):
                assert hit["score"] == pytest.approx(twin["score"], abs=1e-6)


def test_who_is_alone_does_not_wait_for_others(engine):
    with served(engine, ServiceSettings(collect=5)) as found, found.client() as client:
        begun = time.monotonic()
        client.post("/rerank", json={"query": {"id": "red.png"}, "documents": NAMES})
        assert time.monotonic() - begun < 2


RED = [{"id": "red.png"}, "red", {"image": uri(colour_query("red"))}]
QUICK = [(RED[0], SCORES), (RED[2], None)]
OTHERS = [*((query, SCORES) for query in RED[1:]), *((query, None) for query in RED[:2])]


@pytest.mark.parametrize(
    ("query", "scores"),
    [*QUICK, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in OTHERS)],
)
def test_in_its_time_though_the_thread_is_busy(asking, rerank, query, scores):
    rerank.hold()
    body = {"query": query, "documents": NAMES, "scores": scores, "timeout_ms": 500}
    spent = []

    def ask(_):
        begun = time.monotonic()
        answer = asking.post("/rerank", json=body).json()
        spent.append(time.monotonic() - begun)
        return answer

    with ThreadPoolExecutor(2) as pool:  # the others find the thread busy with the first
        answers = [ask(0), *pool.map(ask, range(2))]
    for answer in answers:
        assert answer["fallback"] is True
        assert {hit["status"] for hit in answer["results"]} == {"fallback"}
        order = [hit["id"] for hit in answer["results"]]
        first = [hit["global_score"] for hit in answer["results"]]
        assert first == sorted(first, reverse=True)
        assert sorted(order) == sorted(NAMES)
        assert scores is None or (order, first) == (NAMES, pytest.approx(scores))
    assert sorted(spent)[1] < 0.5  # one may have met a machine that did something else
    rerank.free.set()
    body = {"query": query, "documents": NAMES, "scores": scores}
    assert asking.post("/rerank", json=body).json()["fallback"] is False
    text = asking.get("/metrics").text
    assert 'patchrerank_fallbacks_total{reason="deadline"} 3.0' in text


@pytest.mark.parametrize("documents", [NAMES, [uri(colour_query(name)) for name in COLOURS]])
def test_before_a_query_is_encoded_the_order_is_the_one_that_was_sent(asking, encode, documents):
    encode.hold()
    body = {"query": "red", "documents": documents, "timeout_ms": 200}
    answer = asking.post("/rerank", json=body).json()
    assert answer["fallback"] is True
    assert [hit["index"] for hit in answer["results"]] == list(range(len(documents)))
    body["scores"] = list(range(len(documents)))
    answer = asking.post("/rerank", json={**body, "metric": None}).json()
    if "detail" in answer:  # a list of five or more that only rises looks like distances
        assert "distances" in answer["detail"]
    else:
        assert [hit["index"] for hit in answer["results"]] == [2, 1, 0]


def test_a_search_in_its_time(asking, rerank, encode):
    body = {"query": {"id": "red.png"}, "top_k": 3}
    assert asking.post("/search", json=body).json()["fallback"] is False  # the index is built
    rerank.hold()
    body["timeout_ms"] = 700
    answer = asking.post("/search", json=body).json()
    assert answer["fallback"] is True
    assert answer["hits"][0]["id"] == "red.png"
    encode.hold()
    body["timeout_ms"] = 200
    answer = asking.post("/search", json={**body, "query": "red"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "no time" in answer.json()["detail"]


def test_tei_clients_see_a_fallback_in_its_hits(asking, rerank):
    rerank.hold()
    body = {"query": {"id": "red.png"}, "texts": NAMES, "timeout_ms": 100}
    answer = asking.post("/rerank", json=body).json()
    assert {hit["status"] for hit in answer} == {"fallback"}


def test_one_too_many_is_told_when_to_come_again(asking, rerank):
    rerank.hold()
    body = {"query": {"id": "red.png"}, "documents": NAMES, "timeout_ms": 3000}
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(asking.post, "/rerank", json=body) for _ in range(4)]
        while asking.running.service.inside < 4:
            time.sleep(0.01)
        answer = asking.post("/rerank", json=body)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert "patchrerank_queue 4.0" in asking.get("/metrics").text
        assert asking.get("/healthz").status_code == 200
        rerank.free.set()
        assert {done.result().json()["fallback"] for done in waiting} == {False}
    assert asking.running.service.inside == 0


def test_one_bad_request_does_not_harm_those_beside_it(engine, rerank):
    good = {"query": {"id": "red.png"}, "documents": NAMES}
    bad = {"query": {"id": "red.png"}, "documents": ["nope"]}
    with served(engine, ServiceSettings(collect=0.1)) as found, found.client() as client:
        rerank.hold()
        with ThreadPoolExecutor(5) as pool:
            first = pool.submit(client.post, "/rerank", json=good)
            assert rerank.busy.wait(10)
            mixed = [pool.submit(client.post, "/rerank", json=body) for body in (good, bad, good)]
            time.sleep(0.2)
            rerank.free.set()
            statuses = [done.result().status_code for done in mixed]
        assert first.result().status_code == 200
        assert statuses == [200, 422, 200]
