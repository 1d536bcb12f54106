"""Addresses of pictures: of hosts that were named, and never of private networks."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from patchrerank.serving import Engine, ServiceSettings, fetching
from patchrerank.serving.fetching import Fetcher, is_public
from patchrerank.serving.refusals import RequestError
from patchrerank.testing.colours import IDS, colour_encoder, colour_query
from served import served

pytest.importorskip("urllib3")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Host"]))
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest")
            self.end_headers()
            return
        if self.path == "/slow":
            time.sleep(1)
        file = io.BytesIO()
        colour_query("red").save(file, "PNG")
        self.send_response(200)
        self.end_headers()
        many = 10_000 if self.path == "/long" else 1
        with_end = file.getvalue() + b"\0" * 100 * many
        with contextlib.suppress(OSError):
            self.wfile.write(with_end)

    def log_message(self, *_):
        pass


@pytest.fixture
def host():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.asked = True, []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    server.name = f"pictures.example:{server.server_address[1]}"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def as_public(monkeypatch):
    """The host's name leads to this machine, and that counts as public."""
    plain = socket.getaddrinfo

    def here(name, port, *others, **options):
        return plain("127.0.0.1" if name == "pictures.example" else name, port, *others, **options)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    monkeypatch.setattr(fetching, "is_public", lambda address: True)


def soon():
    return time.monotonic() + 10


def test_a_picture_of_a_named_host(host, as_public):
    fetch = Fetcher((host.name.upper(),), 10_000)
    assert fetch(f"http://{host.name}/a.png?b=c", "the query", soon()).startswith(b"\x89PNG")
    assert host.asked == [("/a.png?b=c", host.name)]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://other.example/a.png", "not fetched here"),
        ("http://evil.{name}/a.png", "not fetched here"),
        ("http://user@{name}/a.png", "no address"),
        ("http://{name}/away", "status 302"),
        ("http://{name}/long", "more than 10000 bytes"),
        ("http://[::1/a.png", "no address"),
        ("http:///a.png", "no address"),
        ("http://pictures.example:99999/", "no address"),
        ("ftp://{name}/a.png", "no address"),
        ("file:///etc/passwd", "no address"),
    ],
)
def test_what_is_not_fetched(host, as_public, url, why):
    with pytest.raises(RequestError, match=why):
        Fetcher((host.name,), 10_000)(url.format(name=host.name), "the query", soon())


def test_what_is_late(host, as_public):
    with pytest.raises(RequestError, match="cannot be fetched"):
        Fetcher((host.name,), 10_000)(f"http://{host.name}/slow", "x", time.monotonic() + 0.2)


def test_a_named_host_in_a_private_network_is_not_asked(host, monkeypatch):
    port = host.server_address[1]
    for name in ("localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254"):
        with pytest.raises(RequestError, match="private network"):
            Fetcher((f"{name}:{port}",), 10_000)(f"http://{name}:{port}/a.png", "x", soon())
    several = [(2, 1, 6, "", (address, port)) for address in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: several)
    with pytest.raises(RequestError, match="private network"):
        Fetcher(("two.example",), 10_000)("http://two.example/a.png", "x", soon())
    assert host.asked == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
    ],
)
def test_which_addresses_are_of_the_internet(address, public):
    assert is_public(address) is public


def test_a_service_that_may(colours, host, as_public):
    engine = Engine(colours.folder, "patchify:all:0.2:4", encoder=colour_encoder())
    limits = ServiceSettings(allowed_hosts=(host.name,))
    with served(engine, limits) as running, running.client() as client:
        body = {"query": {"image": f"http://{host.name}/red.png"}, "documents": list(IDS)}
        assert client.post("/rerank", json=body).json()["results"][0]["id"] == "red.png"
        part = {"type": "image_url", "image_url": {"url": f"http://{host.name}/red.png"}}
        body = {"query": "red", "documents": [{"content": [part]}]}
        found = client.post("/rerank", json=body).json()["results"]
        assert found[0]["local_score"] == pytest.approx(1, abs=1e-3)
        body = {"query": {"image": "http://else.example/x"}, "documents": []}
        assert client.post("/rerank", json=body).status_code == 422
