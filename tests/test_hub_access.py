"""Where the hub does not answer, its client is offline for the while: no minute of trying."""

from __future__ import annotations

import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from huggingface_hub import constants

from patchrerank import hub_access
from patchrerank.encoders import load_encoder
from patchrerank.errors import EncoderError
from patchrerank.hub_access import bounded_hub


@pytest.fixture
def online(monkeypatch, tmp_path):
    """The client as it is without HF_HUB_OFFLINE, with an empty cache; takes an address."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def at(address: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", address)

    return at


def nobody() -> str:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def server():
    """Answers everything with 404, as fast as it can."""

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *args):
            pass

    running = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.fixture
def silent():
    """Takes a connection and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_hub_that_answers_is_used(online, server):
    online(server)
    with bounded_hub():
        assert not constants.HF_HUB_OFFLINE


def test_a_hub_that_does_not_answer_is_not_asked_again(online, monkeypatch, silent):
    monkeypatch.setattr(hub_access, "PATIENCE", 0.3)
    for address in (nobody(), silent):
        online(address)
        begun = time.monotonic()
        with bounded_hub():
            assert constants.HF_HUB_OFFLINE
        assert time.monotonic() - begun < 2
        assert not constants.HF_HUB_OFFLINE


def test_offline_by_choice_asks_nobody(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub_access, "_answers", lambda address: pytest.fail("asked"))
    with bounded_hub():
        assert constants.HF_HUB_OFFLINE
    assert constants.HF_HUB_OFFLINE
    with bounded_hub(needed=False):
        pass


def test_what_fails_meanwhile_leaves_the_client_as_it_was(online):
    online(nobody())
    with pytest.raises(ValueError, match="meanwhile"), bounded_hub():
        raise ValueError("meanwhile")
    assert not constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("timm:test_vit", r"could not fetch timm/test_vit\.r160_in1k.*timm:<model>/<file>"),
        ("timm:hf-hub:some/model", r"could not fetch hf-hub:some/model"),
        ("open_clip:RN50/openai", r"could not fetch .*RN50.*open_clip:<model>/<file>"),
        ("open_clip:hf-hub:some/model", r"could not fetch .*hf-hub:some/model"),
    ],
)
def test_without_a_network_there_is_a_sentence_within_seconds(online, spec, words):
    online(nobody())
    begun = time.monotonic()
    with pytest.raises(EncoderError, match=words) as caught:
        load_encoder(spec, device="cpu")
    assert time.monotonic() - begun < 10
    for remedy in ("connection", "HF_HUB_CACHE", "--random-weights"):
        assert remedy in str(caught.value)
    assert os.environ.get("HF_HUB_OFFLINE") == "1"
