"""Clients that leave, galleries that change under load, signals: nothing is lost."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter

import httpx
import numpy as np
import pytest

from drawn_galleries import draw_gallery
from patchrerank.errors import GalleryError
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, compact, import_gallery, remove
from patchrerank.pipeline import Recipe
from patchrerank.rerankers import Patchify
from patchrerank.serving import Engine, ServiceSettings
from patchrerank.serving.running import DRAIN
from served import served, served_process

IMAGES, PATCHES, DIM, CLIENTS = 300, 6, 32, 8
STAGES = "patchify:all:0.3:4"


def units(rng, count):
    found = rng.normal(size=(count, DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def write(folder, seed, names):
    """A gallery of drawn vectors, other ones for another seed."""
    rng = np.random.default_rng(seed)
    vectors, patches = units(rng, len(names)), units(rng, len(names) * PATCHES)
    counts = np.full(len(names), PATCHES)
    return import_gallery(folder, names, vectors, patches, counts, encoder="x", progress=False)


@pytest.fixture
def names():
    return [f"photos/{number:04d}.jpg" for number in range(IMAGES)]


@pytest.fixture
def folder(tmp_path, names):
    return write(tmp_path / "g", 0, names).folder


def answer_of(gallery, vector, ids):
    """What the library says, by id."""
    rows = gallery.rows_of(ids)
    cosines = gallery.global_vectors[rows] @ vector
    order = np.argsort(-cosines, kind="stable")
    ranked = [ids[place] for place in order]
    hits = Patchify(gallery, fusion=Fusion(0.3, 4)).rank(vector, ranked, cosines[order])
    return {hit.id: hit.score for hit in hits}


class Clients:
    """So many clients, each asking one thing after the other until they are told to stop."""

    def __init__(self, url, bodies):
        self.url, self.bodies, self.stopped = url, bodies, threading.Event()
        self.answers, self.refused, self.lost = [], [], []
        self.threads = [threading.Thread(target=self.ask, args=(n,)) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def ask(self, number):
        with httpx.Client(timeout=30) as client:
            while not self.stopped.is_set():
                body = self.bodies[number % len(self.bodies)]
                try:
                    found = client.post(f"{self.url}/rerank", json=body)
                except httpx.ConnectError:
                    self.refused.append(number)
                    return
                except httpx.HTTPError as error:
                    self.lost.append(repr(error))
                    return
                self.answers.append((number % len(self.bodies), found.status_code, found.json()))

    def more(self, rounds=4):
        """Wait until each has been answered some times more."""
        wanted, until = len(self.answers) + rounds * CLIENTS, time.monotonic() + 60
        while len(self.answers) < wanted:
            assert time.monotonic() < until
            time.sleep(0.02)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)


def bodies_of(ids):
    vectors = units(np.random.default_rng(7), CLIENTS)
    return vectors, [{"query": {"vector": vector.tolist()}, "documents": ids} for vector in vectors]


def test_a_client_that_leaves_costs_nothing_and_harms_nobody(folder, names, monkeypatch):
    engine, free, seen = Engine(folder, STAGES), threading.Event(), []
    plain = engine.current.reranker.rerank

    def slowly(queries, shortlist):
        seen.append(len(queries))
        assert free.wait(20)
        return plain(queries, shortlist)

    monkeypatch.setattr(engine.current.reranker, "rerank", slowly)
    vectors, bodies = bodies_of(names[:20])
    body = json.dumps(bodies[0]).encode()
    head = b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with served(engine) as running, running.client() as client:
        leaving = []
        for _ in range(5):  # the first is begun, the others wait for it
            leaving.append(socket.create_connection(("127.0.0.1", running.port)))
            leaving[-1].sendall(head + body)
            while running.service.inside < len(leaving):
                time.sleep(0.01)
        half = socket.create_connection(("127.0.0.1", running.port))
        half.sendall(head + body[:10])
        while not seen or running.service.inside < 6:
            time.sleep(0.01)
        for sock in (*leaving, half):
            sock.close()
        while running.service.inside:
            time.sleep(0.01)
        free.set()
        found = client.post("/rerank", json=bodies[1]).json()["results"]
        expected = answer_of(Gallery(folder), vectors[1], names[:20])
        assert {hit["id"]: hit["score"] for hit in found} == pytest.approx(expected, abs=1e-6)
        assert sum(seen) == 2  # the one that was begun, and this one
        assert 'status="499"} 6.0' in client.get("/metrics").text


@pytest.mark.parametrize(
    "how", ["replaced", pytest.param("removed and compacted", marks=pytest.mark.slow)]
)
def test_a_gallery_that_changes_while_eight_clients_ask(folder, names, tmp_path, how):
    asked = names[100:200]
    vectors, bodies = bodies_of(asked)
    before = [answer_of(Gallery(folder), vector, asked) for vector in vectors]
    write(tmp_path / "next", 1, names[50:])
    after = before
    if how == "replaced":
        after = [answer_of(Gallery(tmp_path / "next"), vector, asked) for vector in vectors]
    with served(Engine(folder, STAGES), poll=0.05) as running:
        clients = Clients(running.url, bodies)
        clients.more()
        if how == "replaced":
            folder.rename(tmp_path / "old")
            time.sleep(0.2)  # there is none for a moment
            (tmp_path / "next").rename(folder)
            shutil.rmtree(tmp_path / "old")
        else:
            for start in range(0, 90, 30):
                remove(folder, names[start : start + 30])
                compact(folder)
                time.sleep(0.2)
        loaded = time.monotonic() + 10
        while running.service.engine.changed and time.monotonic() < loaded:
            time.sleep(0.02)
        clients.more()
        clients.stop()
        left = running.client().get("/readyz").json()["images"]
    assert left == IMAGES - (50 if how == "replaced" else 90)
    assert not clients.lost + clients.refused
    assert {status for _, status, _ in clients.answers} == {200}
    told = Counter()
    for number, _, answer in clients.answers:
        found = {hit["id"]: hit["score"] for hit in answer["results"]}
        is_old = found == pytest.approx(before[number], abs=1e-6)
        is_new = found == pytest.approx(after[number], abs=1e-6)
        assert is_old or is_new  # never something of both
        told[is_new and not is_old] += 1
    assert how != "replaced" or min(told[False], told[True]) > CLIENTS


def test_what_cannot_be_opened_leaves_the_old_one(folder, names, caplog):
    _, bodies = bodies_of(names[:5])
    with served(Engine(folder, STAGES), poll=0.02) as running, running.client() as client:
        (folder / "torn.json").write_text("{")
        (folder / "torn.json").replace(folder / "manifest.json")
        while "the old one stays" not in caplog.text:
            time.sleep(0.02)
        time.sleep(0.2)
        assert caplog.text.count("the old one stays") == 1
        assert client.post("/rerank", json=bodies[0]).status_code == 200
        assert 'reloads_total{result="failed"} 1.0' in client.get("/metrics").text


def test_a_recipe_that_is_written_anew(folder, names, tmp_path):
    recipe = tmp_path / "recipe.json"
    Recipe.parse("patchify:all:1:4").save(recipe)
    _, bodies = bodies_of(names[:5])
    with served(Engine(folder, tuned=recipe), poll=0.02) as running, running.client() as client:
        first = client.post("/rerank", json=bodies[0]).json()["results"]
        assert all(hit["score"] == hit["global_score"] for hit in first)
        Recipe.parse("patchify:all:0:4").save(recipe)
        while running.service.engine.changed:
            time.sleep(0.02)
        then = client.post("/rerank", json=bodies[0]).json()["results"]
        assert all(hit["score"] != hit["global_score"] for hit in then)


def test_signals_to_a_process_and_what_it_logs(tmp_path):
    ids = [f"{number}.jpg" for number in range(9)]
    folder, recipe = draw_gallery(tmp_path / "g", ids, 2, 8).folder, tmp_path / "recipe.json"
    Recipe.parse("patchify:all:1:4").save(recipe)
    body = {"query": {"id": "0.jpg"}, "documents": ids}
    with served_process(folder, "--lazy", "--tuned", recipe, "--poll", 0) as (process, url):

        def best():
            return httpx.post(f"{url}/rerank", json=body).json()["results"][0]

        for _ in range(3):
            asked = {"query": body["query"], "box": [0, 0, 1, 1]}
            assert httpx.post(f"{url}/search", json=asked).status_code == 503
        Recipe.parse("patchify:all:0:4").save(recipe)
        assert best()["score"] == best()["global_score"]
        process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 60
        while (found := best())["score"] == found["global_score"]:
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr.read().count("0.jpg: no such file") == 1


def test_open_connections_are_answered_once_more(folder):
    with served_process(folder, "--stages", STAGES) as (process, url), httpx.Client() as client:
        assert client.get(f"{url}/healthz").headers.get("connection") is None
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        answer = client.get(f"{url}/healthz")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert process.wait(30) == 0


def state_of(pid):
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=True)
    return told.stdout.decode().strip()


@pytest.mark.parametrize("fresh", [True, False])
def test_what_came_before_the_signal_is_answered(tmp_path, fresh):
    """The process stands still meanwhile, as on a busy machine: nothing of it is read, or taken.

    Connections that the kernel alone has accepted; and idle ones on which a request comes while
    the time until they are closed runs out.
    """
    ids = [f"{number}.jpg" for number in range(9)]
    gallery = draw_gallery(tmp_path / "g", ids, 2, 8)
    asked = {"query": {"vector": gallery.global_vectors[0].tolist()}, "documents": ids}
    with served_process(gallery.folder, "--lazy", "--poll", 0) as (process, url):
        clients = [http.client.HTTPConnection(*url[7:].split(":"), 30) for _ in range(8)]

        def ask():
            for client in clients:
                client.request("POST", "/rerank", json.dumps(asked))

        def answers():
            found = [client.getresponse() for client in clients]
            return [(one.status, len(json.loads(one.read())["results"])) for one in found]

        if not fresh:
            ask()
            assert answers() == [(200, 9)] * 8
            process.send_signal(signal.SIGTERM)
            time.sleep(DRAIN / 2)
        process.send_signal(signal.SIGSTOP)
        while not state_of(process.pid).startswith("T"):
            time.sleep(0.01)
        ask()
        if fresh:
            process.send_signal(signal.SIGTERM)
        else:
            time.sleep(DRAIN)
        process.send_signal(signal.SIGCONT)
        assert answers() == [(200, 9)] * 8
        assert process.wait(30) == 0


@pytest.mark.slow
def test_reload_by_signal_and_shutdown_under_load(folder, names, tmp_path):
    """A process as the command line starts it: SIGHUP, then SIGTERM while eight clients ask."""
    recipe = tmp_path / "recipe.json"
    Recipe.parse("patchify:all:1:4").save(recipe)
    _, bodies = bodies_of(names)
    with served_process(folder, "--tuned", recipe, "--poll", 0, "--collect-ms", 5) as (
        process,
        url,
    ):
        clients = Clients(url, bodies)
        clients.more()
        Recipe.parse("patchify:all:0:4").save(recipe)
        clients.more()
        oldest = clients.answers[-1][2]["results"][0]
        assert oldest["score"] == oldest["global_score"]
        process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 60
        while (newest := clients.answers[-1][2]["results"][0])["score"] == newest["global_score"]:
            assert time.monotonic() < until
            time.sleep(0.02)
        clients.more()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        clients.stop()
        errors = process.stderr.read()
    assert not clients.lost
    assert len(clients.refused) == CLIENTS  # each was told only when it came anew
    assert {status for _, status, _ in clients.answers} == {200}
    assert "Traceback" not in errors


def test_what_was_begun_is_answered_before_it_stops(folder, names):
    """One slow request, through the door when the signal comes."""
    engine, begun = Engine(folder, STAGES), threading.Event()
    plain = engine.current.reranker.rerank

    def slowly(queries, shortlist):
        begun.set()
        time.sleep(0.4)
        return plain(queries, shortlist)

    engine.current.reranker.rerank = slowly
    _, bodies = bodies_of(names[:5])
    found = []
    with served(engine, ServiceSettings()) as running:
        url = f"{running.url}/rerank"
        asking = threading.Thread(target=lambda: found.append(httpx.post(url, json=bodies[0])))
        asking.start()
        assert begun.wait(10)
        running.stop()
        asking.join(10)
    assert found[0].status_code == 200


def test_what_the_old_gallery_cannot_answer_any_more_the_new_one_does(folder, names, monkeypatch):
    """Its files are gone before the change was seen: the request is answered all the same."""
    engine = Engine(folder, STAGES)
    vectors, bodies = bodies_of(names[:5])

    def gone(queries, shortlist):
        raise GalleryError("a shard is missing")

    monkeypatch.setattr(engine.current.reranker, "rerank", gone)
    with served(engine, poll=0) as running, running.client() as client:
        answer = client.post("/rerank", json=bodies[0])
        assert (answer.status_code, answer.json()) == (503, {"detail": "a shard is missing"})
        remove(folder, names[-1:])
        found = client.post("/rerank", json=bodies[0]).json()["results"]
    expected = answer_of(Gallery(folder), vectors[0], names[:5])
    assert {hit["id"]: hit["score"] for hit in found} == pytest.approx(expected, abs=1e-6)
