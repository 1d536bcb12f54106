"""Other people's models as a stage: right, or flagged within the deadline."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import pickle
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers.small_datasets import write_dataset

from patchrerank import Cascade, Fusion, Stage, Text
from patchrerank.analysis import evaluate
from patchrerank.analysis.methods import Method
from patchrerank.datasets import load_dataset
from patchrerank.encoders import Preprocessing, load_encoder
from patchrerank.errors import QueryError, RerankerError, SettingError
from patchrerank.gallery import build_gallery
from patchrerank.pipeline import load_reranker
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import HttpScorer, Pairs, Patchify, http_scorer
from patchrerank.rerankers.pairs import within
from patchrerank.types import Shortlist

PLAIN = Preprocessing(image_size=(16, 16), mean=(0, 0, 0), std=(1, 1, 1))
GREYS = {f"g{level}.png": level for level in (40, 80, 120, 160, 200)}


class Mean(torch.nn.Module):
    """The mean colour of a picture, and a constant."""

    def forward(self, pixels):
        return torch.cat([pixels.mean((2, 3)), torch.ones(len(pixels), 1)], dim=1)


@pytest.fixture(scope="module")
def encoder():
    def words(prompts):
        return np.ones((len(prompts), 4), dtype=np.float32)

    return load_encoder(Mean(), preprocessing=PLAIN, device="cpu", text=words)


@pytest.fixture(scope="module")
def gallery(encoder, tmp_path_factory):
    photos = tmp_path_factory.mktemp("photos")
    for name, level in GREYS.items():
        Image.new("RGB", (40, 30), (level, level, level)).save(photos / name)
    return build_gallery(tmp_path_factory.mktemp("g") / "g", photos, encoder, GridPyramid(0))


def grey(level, size=(32, 32)):
    return Image.new("RGB", size, (level, level, level))


def level_of(uri):
    assert uri.startswith("data:image/jpeg;base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return float(np.asarray(picture).mean())


def alike(one, other):
    return 1 - abs(one - other) / 255


class Endpoint(ThreadingHTTPServer):
    """A server that compares grey levels, and misbehaves as it is told."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.faults = [], []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/rerank"


def query_and_documents(body):
    """What each shape says, as grey levels; words have the level of 200."""
    query, key = body["query"], "texts" if "texts" in body else "documents"

    def level(part):
        if isinstance(part, str):
            return level_of(part) if part.startswith("data:") else 200.0
        if "image" in part:
            return level_of(part["image"])
        (content,) = part["content"]
        assert content["type"] == "image_url"
        return level_of(content["image_url"]["url"])

    return level(query), [level(part) for part in body[key]], key == "texts"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((dict(self.headers), body))
        fault = self.server.faults.pop(0) if self.server.faults else None
        query, documents, bare = query_and_documents(body)
        name = "score" if bare else "relevance_score"
        results = [{"index": n, name: alike(query, d)} for n, d in enumerate(documents)]
        results.sort(key=lambda result: -result[name])  # as all of them answer: best first
        if callable(fault):
            fault, results = None, fault(results, name)
        if isinstance(fault, float):
            time.sleep(fault)
        if fault == "dropped":
            self.connection.close()
            return
        status = fault if isinstance(fault, int) else 200
        content = json.dumps(results if bare else {"results": results, "model": "m"}).encode()
        content = b"<html>" if fault == "no json" else content
        content = b"[" + b" " * (17 << 20) + b"]" if fault == "huge" else content
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.path + "/elsewhere")
        if status == 429:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint():
    server = Endpoint()
    yield server
    server.shutdown()
    server.server_close()


IDS = list(GREYS)
SCORES = [0.9, 0.8, 0.7, 0.6, 0.5]


def by_level(level):
    return sorted(IDS, key=lambda name: abs(GREYS[name] - level))


@pytest.mark.parametrize("shape", ["jina", "cohere", "tei", "vllm"])
@pytest.mark.parametrize("batch", [2, 32])
def test_an_endpoint_of_each_shape_decides_the_order(gallery, encoder, endpoint, shape, batch):
    scorer = HttpScorer(endpoint.url, shape, model="m", batch=batch)
    hits = Pairs(gallery, scorer, encoder).rank(grey(165), IDS, SCORES)
    assert [hit.id for hit in hits] == by_level(165)
    assert {hit.status for hit in hits} == {"rescored"}
    assert len(endpoint.requests) == (3 if batch == 2 else 1)
    assert endpoint.requests[0][1]["model"] == "m"
    for hit in hits:  # σ of the local score is the probability that the endpoint said
        probability = 1 / (1 + np.exp(-hit.local_score))
        assert probability == pytest.approx(alike(165, GREYS[hit.id]), abs=0.01)


@pytest.mark.parametrize("shape", ["jina", "cohere", "tei", "vllm"])
def test_words_are_passed_on_as_words(gallery, encoder, endpoint, shape):
    hits = Pairs(gallery, HttpScorer(endpoint.url, shape), encoder).rank(Text("pale"), IDS)
    assert endpoint.requests[0][1]["query"] == "pale"
    assert [hit.id for hit in hits] == by_level(200)


def test_a_query_is_cut_to_its_box(gallery, encoder, endpoint):
    picture = grey(10)
    picture.paste(grey(120, (16, 32)), (16, 0))
    reranker = Pairs(gallery, HttpScorer(endpoint.url), encoder, query_crop="box")
    hits = reranker.rank(picture, IDS, box=(0.5, 0, 1, 1))
    assert hits[0].id == "g120.png"


def test_a_token_comes_from_the_environment(gallery, encoder, endpoint, monkeypatch):
    scorer = HttpScorer(endpoint.url, token_variable="ENDPOINT_TOKEN")
    reranker = Pairs(gallery, scorer, encoder)
    monkeypatch.delenv("ENDPOINT_TOKEN", raising=False)
    with pytest.raises(SettingError, match="ENDPOINT_TOKEN, which holds its token, is not set"):
        reranker.rank(grey(1), IDS)
    monkeypatch.setenv("ENDPOINT_TOKEN", "secret")
    reranker.rank(grey(1), IDS)
    assert endpoint.requests[0][0]["Authorization"] == "Bearer secret"
    assert "secret" not in repr(scorer)


def short(results, name):
    return results[:-1]


def doubled(results, name):
    return [*results[:-1], results[0]]


def not_a_number(results, name):
    return [{**result, name: float("nan")} for result in results]


def no_probability(results, name):
    return [{**result, name: 3.0} for result in results]


def beyond(results, name):
    return [{**result, "index": result["index"] + 1} for result in results]


def worded(results, name):
    return [{**result, name: "high"} for result in results]


FAULTS = [
    (short, "1 of 5 documents have no result"),
    (doubled, "two results have the index"),
    (not_a_number, "not an index and a finite 'relevance_score'"),
    (no_probability, "which are no probabilities"),
    (beyond, "has the index 5, but 5 were sent"),
    (worded, "not an index and a finite"),
    (lambda results, name: "none", "expected 'results' of results"),
    ("no json", "its answer"),
    ("huge", "more than 16 MB"),
    (400, "status 400"),
    (401, "status 401"),
    (302, "status 302"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
def test_what_makes_no_sense_is_flagged_and_the_order_stays(
    gallery, encoder, endpoint, caplog, fault, reason
):
    endpoint.faults = [fault]
    reranker = Pairs(gallery, HttpScorer(endpoint.url), encoder)
    hits = reranker.rank(grey(165), IDS, SCORES)
    assert [hit.id for hit in hits] == IDS
    assert [hit.score for hit in hits] == pytest.approx(SCORES)
    assert {hit.status for hit in hits} == {"fallback"}
    assert reason in caplog.text
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("fault", [503, 429, 500, "dropped"])
def test_what_may_pass_is_tried_again(gallery, encoder, endpoint, fault, monkeypatch):
    monkeypatch.setattr(http_scorer, "PAUSE", 0.01)
    endpoint.faults = [fault, fault]
    hits = Pairs(gallery, HttpScorer(endpoint.url), encoder).rank(grey(165), IDS, SCORES)
    assert [hit.id for hit in hits] == by_level(165)
    assert len(endpoint.requests) == 3


def test_it_is_not_tried_for_ever(gallery, encoder, endpoint, monkeypatch):
    """Nor is anything waited for behind the last time."""
    endpoint.faults, pauses = [503] * 9, []
    clock = SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic)
    monkeypatch.setattr(http_scorer, "time", clock)
    hits = Pairs(gallery, HttpScorer(endpoint.url, retries=1), encoder).rank(grey(1), IDS, SCORES)
    assert hits[0].status == "fallback"
    assert len(endpoint.requests) == 2
    assert pauses == [0.1]


def test_a_slow_endpoint_costs_no_more_than_the_deadline(gallery, encoder, endpoint, caplog):
    endpoint.faults = [30.0]
    reranker = Pairs(gallery, HttpScorer(endpoint.url, timeout=0.2), encoder)
    begun = time.monotonic()
    hits = reranker.rank(grey(165), IDS, SCORES)
    assert time.monotonic() - begun < 5
    assert [hit.id for hit in hits] == IDS
    assert {hit.status for hit in hits} == {"fallback"}


def test_nobody_there_is_flagged(gallery, encoder, caplog):
    hits = Pairs(gallery, HttpScorer("http://127.0.0.1:9/"), encoder).rank(grey(1), IDS, SCORES)
    assert {hit.status for hit in hits} == {"fallback"}
    assert "http://127.0.0.1:9/" in caplog.text


def test_one_query_of_a_batch_falls_back_alone(gallery, encoder, endpoint):
    endpoint.faults = [None, 400]
    reranker = Pairs(gallery, HttpScorer(endpoint.url), encoder)
    lists = reranker.rank_batch([grey(165)] * 3, [IDS] * 3, [SCORES] * 3)
    assert [[hit.id for hit in hits] for hits in lists] == [by_level(165), IDS, by_level(165)]
    assert [hits[0].status for hits in lists] == ["rescored", "fallback", "rescored"]


def test_a_failed_stage_leaves_the_order_of_the_stage_before(gallery, encoder, endpoint):
    patches = Stage(Patchify(gallery, encoder), Fusion(0.0, 1.0, 4))
    alone = Cascade([patches]).rank(grey(165), IDS, SCORES)
    pairs = Pairs(gallery, HttpScorer(endpoint.url), encoder)
    both = Cascade([patches, Stage(pairs, Fusion(0.0, 1.0, 3))])
    endpoint.faults = [400]
    fallen = both.rank(grey(165), IDS, SCORES)
    assert [(hit.id, hit.score, hit.local_score, hit.box) for hit in fallen] == [
        (hit.id, hit.score, hit.local_score, hit.box) for hit in alone
    ]
    assert {hit.status for hit in fallen} == {"fallback"}
    assert {hit.status for hit in both.rank(grey(165), IDS, SCORES)} == {"rescored", "behind"}


class Judge:
    """An object with ``predict``, as sentence-transformers' cross-encoders have it."""

    def __init__(self, spoil=None):
        self.spoil = spoil

    def predict(self, pairs):
        found = [-abs(level(a) - level(b)) / 10 for a, b in pairs]
        return found if self.spoil is None else self.spoil(found)


def level(picture):
    return float(np.asarray(picture).mean())


def test_an_object_with_predict_decides_the_order(gallery, encoder):
    hits = Pairs(gallery, Judge(), encoder).rank(grey(165), IDS, SCORES)
    assert [hit.id for hit in hits] == by_level(165)
    assert hits[0].local_score == pytest.approx(-0.5, abs=0.01)


def raising(found):
    raise MemoryError("no room")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda found: found[:-1], "returned 4 scores for 5 pairs"),
        (lambda found: ["yes"] * 5, "no numbers"),
        (lambda found: [float("inf")] * 5, "NaN or infinite"),
        (raising, "the model failed: MemoryError: no room"),
    ],
)
def test_an_object_that_fails_is_flagged(gallery, encoder, caplog, spoil, reason):
    hits = Pairs(gallery, Judge(spoil), encoder).rank(grey(165), IDS, SCORES)
    assert {hit.status for hit in hits} == {"fallback"}
    assert reason in caplog.text


def test_what_is_late_is_left_alone():
    with pytest.raises(RerankerError, match="no answer in time"):
        within(time.monotonic() + 0.05, lambda: time.sleep(2))


def test_ready_vectors_have_no_picture(gallery):
    with pytest.raises(QueryError, match="these queries are vectors alone"):
        Pairs(gallery, Judge()).rank(gallery.global_vectors[0], IDS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scorer": "http://x"}, "the scorer is"),
        ({"scale": "stars"}, "use probability, logit, other"),
        ({"timeout": 0.0}, "timeout must be a positive"),
        ({"timeout": float("nan")}, "timeout must be a positive"),
    ],
)
def test_what_pairs_are_made_of_is_checked(gallery, settings, message):
    with pytest.raises(SettingError, match=message):
        Pairs(gallery, **{"scorer": Judge(), **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "ftp://x"}, "no http:// or https://"),
        ({"shape": "x"}, "use jina, cohere, tei, vllm"),
        ({"retries": -1}, "retries"),
        ({"batch": 0}, "batch"),
        ({"timeout": 0.0}, "timeout"),
        ({"max_side": 1}, "max_side"),
        ({"scale": "x"}, "use probability, logit, other"),
    ],
)
def test_an_endpoint_is_checked(settings, message):
    with pytest.raises(SettingError, match=message):
        HttpScorer(**{"url": "http://x", **settings})


def test_a_stage_names_a_file_that_says_where(gallery, encoder, endpoint, tmp_path):
    file = tmp_path / "endpoint.json"
    file.write_text(json.dumps({"url": endpoint.url, "shape": "tei", "timeout": 5}))
    reranker = load_reranker(gallery, f"patchify:4:0.5:1,pairs@{file}:3:0:1", encoder=encoder)
    hits = reranker.rank(grey(165), IDS, SCORES)
    assert [hit.status for hit in hits] == ["rescored"] * 4 + ["behind"]
    file.write_text(json.dumps({"url": endpoint.url, "form": "tei"}))
    with pytest.raises(SettingError, match=r"endpoint.json: form: unknown key"):
        load_reranker(gallery, f"pairs@{file}", encoder=encoder)


def test_nothing_is_measured_of_an_endpoint_that_fails(encoder, endpoint, tmp_path):
    queries = [{"id": "q", "picture": grey(40), "instance": 1}]
    images = [
        {"id": name, "picture": grey(shade), "instance": int(shade == 40), "boxes": []}
        for name, shade in GREYS.items()
    ]
    for image in images:
        image["file"] = image["id"]
    data = load_dataset(write_dataset(tmp_path, queries, images))
    file = tmp_path / "endpoint.json"
    file.write_text(json.dumps({"url": endpoint.url}))
    found = evaluate(data, encoder, method=Method(f"pairs@{file}:all:0:1"))
    assert found.measured.metrics["mAP"] == 100.0
    endpoint.faults = [400] * 9
    with pytest.raises(RerankerError, match="1 of 1 queries could not be scored"):
        evaluate(data, encoder, method=Method(f"pairs@{file}:all:0:1"))


def test_without_a_file_there_is_no_endpoint(gallery, encoder):
    with pytest.raises(SettingError, match="pairs needs an endpoint"):
        load_reranker(gallery, "pairs", encoder=encoder)


def test_it_is_carried_to_another_process(gallery, encoder, endpoint):
    queries = Pairs(gallery, HttpScorer(endpoint.url), encoder).encode([grey(165)])
    carried = pickle.loads(pickle.dumps(Pairs(gallery, HttpScorer(endpoint.url))))
    found = carried.rerank(queries, Shortlist.from_ids(gallery, [IDS], [SCORES]))
    assert gallery.ids[int(found.rows[0, 0])] == by_level(165)[0]
