"""What a service refuses, and how; nothing of the machine is said."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import re
import struct
import zlib

import pytest

from patchrerank.errors import GalleryError, SettingError, ShortlistError
from patchrerank.serving import ServiceSettings
from patchrerank.serving.refusals import public_words
from patchrerank.testing.colours import IDS, colour_query
from served import served, uri

NAMES = list(IDS)
BODY = {"query": "red", "documents": NAMES}


def huge_png(width=20_000, height=10_000):
    """The beginning of a PNG that declares 200 megapixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    part = b"IHDR" + head
    chunk = struct.pack(">I", len(head)) + part + struct.pack(">I", zlib.crc32(part))
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    body = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return b"\x89PNG\r\n\x1a\n" + chunk + body


HUGE = "data:image/png;base64," + base64.b64encode(huge_png()).decode()
REFUSED = {
    "no JSON": ('{"query": ', 400, "no JSON"),
    "NaN": ('{"query": {"vector": [NaN, 0, 1]}, "documents": []}', 400, "no JSON"),
    "no object": ("[1]", 400, "object"),
    "nothing": ("", 400, "no JSON"),
    "deeply nested": ("[" * 100_000, 400, "no JSON"),
    "half a character": ('{"query": "\\ud800"}', 400, "no JSON"),
    "no query": ({"documents": NAMES}, 422, "query is None"),
    "no documents": ({"query": "red"}, 422, "documents must be a list"),
    "10,000 documents": ({"query": "red", "documents": ["x"] * 10_000}, 413, "at most 100"),
    "200 megapixels": ({"query": {"image": HUGE}, "documents": NAMES}, 422, "200000000 pixels"),
    "200 megapixels as a document": ({"query": "red", "documents": [HUGE]}, 422, "200000000"),
    "no picture": ({"query": {"image": "AAAA"}, "documents": NAMES}, 422, "not an image"),
    "no base64": ({"query": {"image": "§§"}, "documents": NAMES}, 422, "neither a data URI"),
    "no picture's URI": ({"query": "data:,x", "documents": NAMES}, 422, "data URI is not"),
    "a path": ({"query": {"image": "/etc/passwd"}, "documents": NAMES}, 422, "neither a data"),
    "an address": (
        {"query": {"image": "http://127.0.0.1/x.png"}, "documents": NAMES},
        422,
        "fetches nothing",
    ),
    "an infinite vector": ({"query": {"vector": [1, 0, 0]}, "documents": NAMES}, 200, ""),
    "a vector of other length": ({"query": {"vector": [1.0, 0]}, "documents": NAMES}, 422, "3 dim"),
    "beyond float32": ({"query": {"vector": [1e300, 0, 0]}, "documents": NAMES}, 422, "infinite"),
    "a vector of zeros": ({"query": {"vector": [0, 0, 0]}, "documents": NAMES}, 422, "zeros"),
    "a vector that is none": ({"query": {"vector": [[1]]}, "documents": NAMES}, 422, "numbers"),
    "unknown ids": ({"query": "red", "documents": ["a", "b"]}, 422, "2 of 2 ids are not in"),
    "an unknown query id": ({"query": {"id": "zz"}, "documents": NAMES}, 422, "'zz'"),
    "an id of another kind": ({"query": {"id": [1]}, "documents": NAMES}, 422, "text"),
    "a number for text": ({"query": "red", "documents": [5]}, 422, "are text"),
    "no id": ({"query": "red", "documents": [None]}, 422, "document 0"),
    "a truth value": ({"query": "red", "documents": [True]}, 422, "document 0"),
    "ids and pictures": (
        {"query": "red", "documents": ["red.png", uri(colour_query("red"))]},
        422,
        "not both",
    ),
    "some scores": ({"query": "red", "documents": [{"id": "a", "score": 1}, "b"]}, 422, "1 of 2"),
    "too few scores": ({**BODY, "scores": [1]}, 422, "6 documents but 1 scores"),
    "scores of text": ({**BODY, "scores": ["1"] * 6}, 422, "list of numbers"),
    "a box of three": ({**BODY, "query": uri(colour_query("red")), "box": [0, 0, 1]}, 422, "four"),
    "a box outside": ({**BODY, "query": uri(colour_query("red")), "box": [0, 0, 9, 9]}, 422, "box"),
    "words with a box": ({**BODY, "box": [0, 0, 1, 1]}, 422, "no box"),
    "no time": ({**BODY, "timeout_ms": 0}, 422, "timeout_ms"),
    "time as text": ({**BODY, "timeout_ms": "1"}, 422, "timeout_ms"),
    "a negative top": ({**BODY, "top_n": -1}, 422, "top_n"),
    "two names, two numbers": ({**BODY, "top_n": 2, "top_k": 3}, 422, "top_n 2 and top_k 3"),
    "a limit": ({**BODY, "limit": 3}, 422, "limit is not taken in a request: top_n says"),
    "a k": ({**BODY, "k": 3}, 422, "k is not taken"),
    "settings": ({**BODY, "lam": 0.5}, 422, "lam is not taken in a request: the service"),
    "a metric that is none": ({**BODY, "metric": "miles"}, 422, "metric"),
}
SEARCHES = {
    ("documents", tuple(NAMES)): "ask /rerank",
    ("scores", (1, 2)): "ask /rerank",
    ("limit", 3): "top_n says",
    ("stages", "patchify"): "has been started with it",
}
REFUSED["an infinite vector"] = (
    '{"query": {"vector": [1e999, 0, 0]}, "documents": ["red.png"]}',
    (400, 422),
    "",
)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(("body", "status", "words"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_says_why_in_a_sentence(client, colours, body, status, words):
    given = {"content": body} if isinstance(body, str) else {"json": body}
    answer = client.post("/rerank", **given)
    statuses = status if isinstance(status, tuple) else (status,)
    assert answer.status_code in statuses, answer.text
    said = answer.json()
    assert set(said) == {"detail"}
    assert words in said["detail"]
    assert "Traceback" not in said["detail"]
    assert str(colours.folder.parent) not in answer.text
    assert not re.search(r"(?<![\w:/<.])/\w+/", said["detail"]), said["detail"]


def test_a_search_and_a_batch_are_refused_as_well(client):
    answer = client.post("/search", json={"query": "red", "candidates": 10**6})
    assert answer.status_code == 422
    assert "at most" in answer.json()["detail"]
    for extra, words in SEARCHES.items():
        answer = client.post("/search", json={"query": "red", **dict([extra])})
        assert (answer.status_code, words in answer.json()["detail"]) == (422, True), answer.text
    answer = client.post("/batch", json={"requests": [BODY, {"documents": []}]})
    assert "request 1: query is None" in answer.json()["detail"]
    many = [{**BODY, "documents": ["red.png"] * 60}] * 2
    assert client.post("/batch", json={"requests": many}).status_code == 413
    assert client.post("/batch", json={"requests": 3}).status_code == 422


def test_addresses_that_there_are_not(client):
    for method, path, status in [
        ("GET", "/nope", 404),
        ("GET", "/rerank", 405),
        ("POST", "/images/red.png", 405),
    ]:
        answer = client.request(method, path)
        assert answer.status_code == status
        assert "detail" in answer.json()


def test_a_body_is_counted_as_it_comes(engine):
    """Without a Content-Length, and with one that lies."""
    with served(engine, ServiceSettings(max_body=1000)) as found:

        def chunks(count):
            yield from (b"x" * 100 for _ in range(count))

        with found.client() as asking:
            assert asking.post("/rerank", content=chunks(5)).status_code == 400
            answer = asking.post("/rerank", content=chunks(1000))
            assert answer.status_code == 413
            assert "1000 bytes" in answer.json()["detail"]
        raw = http.client.HTTPConnection("127.0.0.1", found.port, timeout=10)
        raw.putrequest("POST", "/rerank")
        raw.putheader("Content-Length", str(10**12))
        raw.endheaders()
        assert raw.getresponse().status == 413


def test_a_body_that_never_ends_is_given_up(engine):
    with served(engine, ServiceSettings(read_timeout=0.3)) as found:
        raw = http.client.HTTPConnection("127.0.0.1", found.port, timeout=10)
        raw.putrequest("POST", "/rerank")
        raw.putheader("Content-Length", "100")
        raw.endheaders()
        raw.send(b"{")
        answer = raw.getresponse()
        assert answer.status == 408
        assert "in time" in json.loads(answer.read())["detail"]


def test_a_token_is_asked_for(engine):
    with served(engine, ServiceSettings(token="secret")) as found, found.client() as asking:
        for header in (None, "Bearer", "Bearer wrong", "Basic secret", "secret", "Bearer secre"):
            headers = {} if header is None else {"Authorization": header}
            answer = asking.post("/rerank", json=BODY, headers=headers)
            assert answer.status_code == 401, header
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "token" in answer.json()["detail"]
        for path in ("/metrics", "/images/red.png", "/docs", "/openapi.json"):
            assert asking.get(path).status_code == 401
        assert asking.get("/healthz").status_code == asking.get("/readyz").status_code == 200
        known = {"Authorization": "bearer secret"}
        assert asking.post("/rerank", json=BODY, headers=known).status_code == 200
        assert asking.get("/openapi.json", headers=known).json()["security"]


@pytest.mark.parametrize("token", [" secret", "secret ", "  ", "secret\n"])
def test_a_token_that_no_client_can_send_is_refused(token):
    with pytest.raises(SettingError, match="the token"):
        ServiceSettings(token=token)


def test_a_page_needs_no_token_and_opens_no_other_door(engine):
    """Not even one that is mounted over everything."""
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount

    page, limits = Mount("/", PlainTextResponse("a page")), ServiceSettings(token="secret")
    with served(engine, limits, pages=[page]) as found, found.client() as asking:
        assert asking.get("/").text == asking.get("/page.js").text == "a page"
        for path in ("/metrics", "/images/red.png", "/openapi.json", "/rerank"):
            assert asking.get(path).status_code == 401
        assert asking.post("/rerank", json=BODY).status_code == 401


def test_pages_of_other_sites_may_not_ask(engine):
    with served(engine, ServiceSettings(local_names_only=True)) as found, found.client() as asking:
        host = f"127.0.0.1:{found.port}"
        own = {"Origin": f"http://{host}"}
        assert asking.post("/rerank", json=BODY, headers=own).status_code == 200
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
            answer = asking.post("/rerank", json=BODY, headers={"Origin": origin})
            assert answer.status_code == 403
        for name in ("evil.example", f"evil.example:{found.port}", ""):
            answer = asking.get("/openapi.json", headers={"Host": name})
            assert answer.status_code == 421
        for name in ("localhost", f"localhost:{found.port}", "[::1]:80"):
            assert asking.get("/healthz", headers={"Host": name}).status_code == 200


def test_what_fails_inside_is_logged_and_not_shown(running, client, monkeypatch, caplog):
    async def broken(*_):
        raise ZeroDivisionError("/home/somebody/secret.py")

    monkeypatch.setattr(running.service, "answer", broken)
    with caplog.at_level(logging.ERROR):
        answer = client.post("/rerank", json=BODY)
    assert answer.status_code == 500
    assert answer.json() == {"detail": "the service failed; its log says why"}
    assert "ZeroDivisionError" in caplog.text


def test_messages_lose_the_machines_paths(tmp_path):
    place = tmp_path / "my galleries" / "g"
    error = ShortlistError(f"query 0: 1 id is not in the gallery {place}, as 'a/b.jpg' is")
    assert public_words(error, [place]) == "1 id is not in the gallery g, as 'a/b.jpg' is"
    other = GalleryError("/srv/data/g/boxes.bin: checksum differs; see https://example.org/a/b")
    expected = "boxes.bin: checksum differs; see https://example.org/a/b"
    assert public_words(other, []) == expected
